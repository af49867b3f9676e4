"""gpu-model: what work over Qwen2.5-1.5B in bfloat16 should take on an H100 or H200, ours and that of transformers with PEFT. MODELLED, NOT RUN: it needs no GPU and measures nothing.

    gpu_model.py [--workload pairs|groups|best-of] [--device h100|h200] [--pairs 64 --prompt 119 --response 45] [--real-lengths] [--set ASSUMPTION=VALUE...]

pairs: a training step of 64 HH pairs. groups and best-of have the shapes of those parts of `launch/dev gpu`: a training step of 8 groups of 16 responses, beside a peer that trains labelled pairs in full and
one that computes each response once with its prompt (listwise); and a request to score 64 responses with six experts, beside a loop of set_adapter.

Operations, bytes and launches are counted from the shapes, the kernels and the counting runtime; rates are assumed, each by name. Prints tables as docs/results/gpu.md has them: seconds by kind of work, the
share of the matrix peak, the ratio to the peer, and how much each assumption moves them. The share counts useful operations as bench_train_step does. Ends with one JSON line.
"""
import argparse
import dataclasses
import json
from collections.abc import Callable

from made_up_groups import pairs_like_hh

LAYERS, WIDTH, INNER, Q, KV, HEADS, RANK = 28, 1536, 8960, 1536, 256, 12, 32  # Qwen2.5-1.5B, LoRA on q and v
LAYER_MACS = WIDTH * (Q + 2 * KV) + Q * WIDTH + 3 * WIDTH * INNER
ADAPTER = LAYERS * RANK * (WIDTH + Q + WIDTH + KV)
MEMORY_GB_S = {"h100": 3350, "h200": 4800}  # the makers' figures
MEMORY_GB = {"h100": 80, "h200": 141}
PEER_KEEPS = 135e3  # bytes that autograd keeps for a token and layer
BASE_GB = 3.1
LAUNCHES, PEER_LAUNCHES = 1346, 4111  # of a step of one pass, and of the peer's pass: docs/results/gpu.md, counted
GROUPS, PAIRS_PER_GROUP, GROUP_SIZES = [(450, [61] * 16)] * 8, 4, {"pairs": (8, 32), "listwise": (1, 2, 8)}  # of the part groups of launch/dev gpu: tests/bench/gpu.py
PAIR_SIZES = (8, 32, 64)  # pairs of the peer's batch in the part peer
PROMPT, RESPONSES, EXPERTS, ROUTER_LAYERS, BATCH_TOKENS = 200 + 17, [120 + 1] * 64, 6, 19, 16384  # of the part best-of-64: words of a token each, and what the template adds
TEXT_SIZES = (1, 4, 16, 64)  # texts of the peer's batch there
REQUEST_LAUNCHES = 1895  # of a request to ours whose router reads all layers, counted
PEER_SCORING_LAUNCHES, PEER_ROUTER_LAUNCHES = 1349, 783  # of a batch: 46 a layer, 38 without an adapter, 61 beside them
ASSUMED = {  # name: value, what it stands for
    "matrix_peak": (700, "TFLOP/s that a product of two 8192 x 8192 matrices reaches (`launch/dev gpu ceiling` measures it)"),
    "products_reach": (0.80, "share of that in the products of the model, 1,536 to 17,920 wide"),
    "memory_reach": (0.80, "share of the maker's memory bandwidth in kernels of one pass"),
    "flash_forward": (150, "TFLOP/s of flash attention in tiles of 128 x 64, forward"),
    "flash_backward": (80, "the same backward, in the fixed order of sums"),
    "gap_us": (2.0, "microseconds between the end of a kernel and the start of the next"),
    "launch_us": (5.0, "microseconds of the host for a launch; it counts where the GPU would be faster"),
    "peer_launch_us": (7.0, "the same through Python and autograd"),
    "idle_ms": (1.0, "milliseconds that the GPU is idle at each of the two waits of a step"),
    "float32": (40, "TFLOP/s of products in float32, in which PEFT keeps the peer's adapters"),
    "request_ms": (10.0, "milliseconds of the host for a request to ours beside the GPU: HTTP, the wait for a batch, tokens, the aggregator; the peer gets token ids"),
}


@dataclasses.dataclass
class Side:
    """What one side computes: seconds by kind of work, its tokens, and the labelled pairs or requests that it is for."""
    seconds: dict
    tokens: int
    units: int

    @property
    def total(self):
        return sum(self.seconds.values())

    def ratio_to(self, other):
        return other.total / other.units * self.units / self.total


@dataclasses.dataclass
class Workload:
    ours: Callable  # (device, assumed) -> (Side, useful operations)
    peers: dict  # name: (device, assumed) -> Side
    unit: str
    ignores: tuple  # assumptions that it does not read


def ours_bytes():
    """Bytes of a row in a layer, (forward, backward), by kernel: kernels/README.md times how often src/nn/decoder_layer.cpp calls it."""
    return {
        "SwiGLU": (6 * INNER, 10 * INNER),
        "norms and residual sums (the first norm again backward)": ((4 + 8) * WIDTH, (4 + 8 + 8) * WIDTH),
        "residual that the product of down copies": (4 * WIDTH, 0),
        "rotary embedding": (4 * (Q + KV), 0),
        "merging attention's calls, their gradients": (6 * Q + 12 * HEADS, 6 * (Q + 2 * KV)),
        "dropout": (4 * WIDTH, (4 + 6) * WIDTH),
        "LoRA's factors": (2 * WIDTH + 4 * (Q + KV), (2 + 2 + 2) * WIDTH + (2 + 2) * (Q + KV)),
    }


def peer_bytes():
    """The same for transformers' Qwen2 layer and PEFT's LoRA on it, whose source makes each operation and each gradient a pass of its own; adapters in float32."""
    norm = (6 + 8 + 4 + 8 + 6 + 4, 4 + 6 + 8 + 16 + 16 + 12 + 6)  # to float32, square, mean, scale, back, weight; gradients of weight, dtype, scale twice, square, their sum, dtype
    turn = (2 + 4 + 4 + 4 + 6, 4 + 4 + 2 + 8 + 12)  # minus, concatenation, two products, sum; gradients of products, minus, slices, and two sums
    factor = (6 + 9 + 4, 9 + 4 + 4 + 6 + 6)  # to float32, dropout with a mask, product; gradients, their sum in bfloat16
    result = (4 + 8 + 10 + 6, 6 + 6 + 8 + 4 + 4)  # product, scaling, sum, back to bfloat16; gradients
    return {
        "SwiGLU": ((4 + 6) * INNER, (6 + 6 + 6) * INNER),
        "norms": tuple(2 * part * WIDTH for part in norm),
        "residual sums, and sums of gradients": (2 * 6 * WIDTH, (2 + 2 + 1) * 6 * WIDTH),
        "rotary embedding": tuple(part * (Q + KV) for part in turn),
        "layout of heads": (0, 4 * 2 * (Q + 2 * KV)),
        "LoRA with dropout": tuple(2 * f * WIDTH + r * (Q + KV) for f, r in zip(factor, result)),
    }


def scoring_bytes(bytes_of, lora):
    """Bytes of a row in a layer without gradients and dropout. @param lora  those of its adapter"""
    return sum(forward for name, (forward, _) in bytes_of.items() if name != "dropout" and not name.startswith("LoRA")) + lora


def tiles(queries, keys, causal):
    """Pairs of rows in the tiles of 128 queries and 64 keys that flash attention computes."""
    total = 0
    for begin in range(0, queries, 128):
        seen = min(keys, keys - queries + begin + 128) if causal else keys
        total += 128 * 64 * -(-seen // 64)
    return total


def group_tiles(prompt, responses):
    """The same in our two calls: prompt and responses each by itself, and all responses to the prompt."""
    return tiles(prompt, prompt, True) + sum(tiles(r, r, True) for r in responses) + tiles(sum(responses), prompt, False)


def visible(prompt, responses):
    return prompt * (prompt + 1) // 2 + sum(r * prompt + r * (r + 1) // 2 for r in responses)


def unread(rows):
    """Multiply-adds of the last layer's queries, output and MLP for rows that nothing reads."""
    return (LAYER_MACS - 2 * WIDTH * KV) * rows


def product_seconds(operations, a):
    return operations / (a["matrix_peak"] * a["products_reach"] * 1e12)


def memory_seconds(size, device, a):
    return size / (MEMORY_GB_S[device] * 1e9 * a["memory_reach"])


def trained_seconds(bytes_of, rows, device, a):
    return memory_seconds(sum(map(sum, bytes_of.values())) * rows * LAYERS, device, a)


def step(groups, device, a):
    """Our training step in one pass. -> Side, its useful operations"""
    tokens, reads = sum(p + sum(rs) for p, rs in groups), sum(len(rs) for _, rs in groups)
    useful_pairs = sum(visible(p, rs) for p, rs in groups)
    tiled = sum(group_tiles(p, rs) for p, rs in groups)
    useful = {"products": 4.0 * LAYERS * LAYER_MACS * tokens, "LoRA": 6.0 * ADAPTER * tokens, "attention": 12.0 * useful_pairs * Q * (LAYERS - 1)}
    computed = useful["products"] - 4.0 * unread(tokens - reads) - 2.0 * WIDTH * (Q + 2 * KV) * tokens  # and no gradient of the first layer's input
    seconds = {
        "matrix products": product_seconds(computed, a),
        "elementwise kernels, LoRA": trained_seconds(ours_bytes(), tokens, device, a),
        "attention": attention_seconds(tiled, a),
        "gaps between kernels": LAUNCHES * a["gap_us"] * 1e-6,
        "waits": 2 * a["idle_ms"] * 1e-3,
    }
    return Side(behind_the_host(seconds, LAUNCHES * a["launch_us"] * 1e-6), tokens, sum(len(rs) - 1 for _, rs in groups)), sum(useful.values())


def labelled_pairs(groups, most=None):
    """Lengths of both texts of the first labelled pairs of each group; the pairs are those of neighbours."""
    return [[p + rs[i], p + rs[i + 1]] for p, rs in groups for i in range(len(rs) - 1)[:most]]


def whole_groups(groups):
    return [[p + r for r in rs] for p, rs in groups]


def padded(units, size):
    """Batches of so many pairs or groups, sorted by length: [(texts, tokens of the longest)]."""
    units = sorted(units, key=max)
    parts = [sum(units[begin:begin + size], []) for begin in range(0, len(units), size)]
    return [(len(part), max(part)) for part in parts]


def fits(batches, device):
    return max(texts * longest for texts, longest in batches) * LAYERS * PEER_KEEPS <= (MEMORY_GB[device] - BASE_GB) * 1e9


def peer_step(units, sizes, device, a):
    """The same of the peer, each text in full, at the fastest size of batches that fits the memory."""
    possible = [batches for batches in (padded(units, size) for size in sizes) if fits(batches, device)]
    if not possible:
        raise SystemExit(f"no batch of the peer fits the {MEMORY_GB[device]} GB of {device}: of {', '.join(map(str, sizes))} pairs or groups with texts of up to {max(map(max, units))} tokens; take shorter ones")
    return min((peer_passes(units, batches, device, a) for batches in possible), key=lambda side: side.total)


def peer_passes(units, batches, device, a):
    tokens, passes = sum(texts * longest for texts, longest in batches), len(batches)
    tiled = sum(texts * tiles(longest, longest, True) for texts, longest in batches)
    seconds = {
        "matrix products": product_seconds(4.0 * LAYERS * LAYER_MACS * tokens, a),
        "elementwise kernels, LoRA": trained_seconds(peer_bytes(), tokens, device, a) + 6.0 * ADAPTER * tokens / (a["float32"] * 1e12),
        "attention": attention_seconds(tiled, a),
        "gaps between kernels": passes * PEER_LAUNCHES * a["gap_us"] * 1e-6,
        "waits": a["idle_ms"] * 1e-3,
    }
    return Side(behind_the_host(seconds, passes * PEER_LAUNCHES * a["peer_launch_us"] * 1e-6), tokens, sum(len(unit) - 1 for unit in units))


def attention_seconds(tiled, a):
    """Two products of each pair of rows in the tiles forward, and five backward."""
    operations = tiled * Q * LAYERS * 1e-12
    return 4 * operations / a["flash_forward"] + 10 * operations / a["flash_backward"]


def behind_the_host(seconds, host):
    return {**seconds, "behind the host": max(0.0, host - sum(seconds.values()))}


def router_launches(layers):
    """Of our router's pass, which are part of a request's: docs/results/gpu.md."""
    return 10 * layers + 19


def routed(bytes_of, launches, launch, device, a):
    """Seconds of the router's pass over the prompt, on either side."""
    seconds = {
        "matrix products": product_seconds(2.0 * ROUTER_LAYERS * LAYER_MACS * PROMPT, a),
        "elementwise kernels, LoRA": memory_seconds(scoring_bytes(bytes_of, 0) * PROMPT * ROUTER_LAYERS, device, a),
        "attention": 4e-12 * tiles(PROMPT, PROMPT, True) * Q * ROUTER_LAYERS / a["flash_forward"],
        "gaps between kernels": launches * a["gap_us"] * 1e-6,
        "waits": a["idle_ms"] * 1e-3,
    }
    return behind_the_host(seconds, launches * launch * 1e-6)


def scored(tokens, tiled, unread_rows, row_bytes, launches, waits, launch, device, a):
    """Seconds of all experts over so many tokens."""
    seconds = {
        "matrix products": product_seconds(2.0 * LAYERS * LAYER_MACS * tokens - 2.0 * unread(unread_rows), a),
        "elementwise kernels, LoRA": memory_seconds(row_bytes * tokens * LAYERS, device, a),
        "attention": 4e-12 * tiled * Q * LAYERS / a["flash_forward"],
        "gaps between kernels": launches * a["gap_us"] * 1e-6,
        "waits": waits * a["idle_ms"] * 1e-3,
    }
    return behind_the_host(seconds, launches * launch * 1e-6)


def added(*parts):
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def request(device, a):
    """Our request: the router's pass, then the experts over the prompt once and all responses. -> Side, its useful operations"""
    rows = PROMPT + sum(RESPONSES)
    tokens = EXPERTS * rows
    router = routed(ours_bytes(), router_launches(ROUTER_LAYERS), a["launch_us"], device, a)
    launches = REQUEST_LAUNCHES - router_launches(LAYERS)
    lora = ours_bytes()["LoRA's factors"][0]
    experts = scored(tokens, EXPERTS * group_tiles(PROMPT, RESPONSES), EXPERTS * (rows - len(RESPONSES)), scoring_bytes(ours_bytes(), lora), launches, 1, a["launch_us"], device, a)
    useful = 2.0 * (LAYERS * LAYER_MACS + ADAPTER) * tokens + 4.0 * EXPERTS * visible(PROMPT, RESPONSES) * Q * (LAYERS - 1)
    useful += 2.0 * ROUTER_LAYERS * LAYER_MACS * PROMPT + 4.0 * visible(PROMPT, []) * Q * ROUTER_LAYERS
    return Side({**added(router, experts), "host's own work": a["request_ms"] * 1e-3}, tokens + PROMPT, 1), useful


def peer_request(size, device, a):
    """The peer's: the same router, then each expert in turn over every text in full, in batches of so many; every batch's upload waits for the batch before it. Adapters are in bfloat16."""
    batches, texts = EXPERTS * -(-len(RESPONSES) // size), [PROMPT + r for r in RESPONSES]
    tokens = EXPERTS * sum(texts)
    lora = (2 + 2) * WIDTH + (2 + 4 + 6) * (Q + KV)  # two products, scaling, sum
    router = routed(peer_bytes(), PEER_ROUTER_LAUNCHES, a["peer_launch_us"], device, a)
    experts = scored(tokens, EXPERTS * sum(tiles(t, t, True) for t in texts), 0, scoring_bytes(peer_bytes(), lora), batches * PEER_SCORING_LAUNCHES, batches, a["peer_launch_us"], device, a)
    return Side({**added(router, experts), "host's own work": 0.0}, tokens + PROMPT, 1)


def fastest_request(device, a):
    return min((peer_request(size, device, a) for size in TEXT_SIZES), key=lambda side: side.total)


def training(groups, peers):
    """@param peers  name: (what a batch is made of, sizes of batches)"""
    ways = {name: lambda device, a, units=units, sizes=sizes: peer_step(units, sizes, device, a) for name, (units, sizes) in peers.items()}
    return Workload(lambda device, a: step(groups, device, a), ways, "step", ("request_ms",))


def workload(name, groups):
    if name == "pairs":
        return training(groups, {"transformers with PEFT": (labelled_pairs(groups), PAIR_SIZES)})
    if name == "groups":
        return training(GROUPS, {"pairs in full": (labelled_pairs(GROUPS, PAIRS_PER_GROUP), GROUP_SIZES["pairs"]), "each response once": (whole_groups(GROUPS), GROUP_SIZES["listwise"])})
    return Workload(request, {"transformers with PEFT": fastest_request}, "request", ("flash_backward", "float32"))


def figures(work, device, a):
    ours, useful = work.ours(device, a)
    peers = {name: peer(device, a) for name, peer in work.peers.items()}
    tflops = useful / ours.total * 1e-12
    return {"ours": ours, "peers": peers, "useful_tflop": useful * 1e-12, "tflops": tflops, "share": tflops / a["matrix_peak"], "ratios": [ours.ratio_to(peer) for peer in peers.values()]}


def moved(work, device, a):
    """Share and ratios with each assumption a quarter lower and higher, the one that moves the share most first."""
    rows = []
    for name in (name for name in a if name not in work.ignores):
        low, high = (figures(work, device, {**a, name: a[name] * factor}) for factor in (0.75, 1.25))
        rows.append((name, low, high))
    return sorted(rows, key=lambda row: (-abs(row[2]["share"] - row[1]["share"]), -abs(row[2]["ratios"][0] - row[1]["ratios"][0])))


def row(*cells):
    print(f"| {' | '.join(cells)} |")


def show(work, found, assumed, rows):
    ours, peers = found["ours"], found["peers"]
    sides, several = [ours, *peers.values()], len(peers) > 1
    theirs = ", ".join(f"{side.tokens} of the peer's" + (f" ({name})" if several else "") for name, side in peers.items())
    print(f"Modelled, not run. {ours.tokens} tokens of ours, {theirs}; {found['useful_tflop']:.1f} TFLOP of useful operations.\n")
    row("work", "ours, ms", *(f"{name}, ms" for name in peers))
    print("|" + "---|" * (1 + len(sides)))
    for name in ours.seconds:
        row(name, *(f"{1e3 * side.seconds[name]:.1f}" for side in sides))
    row(work.unit, *(f"{1e3 * side.total:.0f}" for side in sides))
    if several:
        row("its labelled pairs", *(str(side.units) for side in sides))
        row("pairs/s", *(f"{side.units / side.total:.0f}" for side in sides))
    times = "; ".join(f"{ratio:.2f} times the peer's {'pairs' if work.unit == 'step' else 'requests'}/s" + (f" ({name})" if several else "") for name, ratio in zip(peers, found["ratios"]))
    print(f"\n{found['tflops']:.0f} TFLOP/s, {100 * found['share']:.0f} % of the assumed matrix peak; {times}\n")
    row("assumed", "value", "what it is", "share with 3/4 and 5/4 of it", *(f"ratio, {name}" if several else "ratio" for name in peers))
    print("|" + "---|" * (4 + len(peers)))
    for name, low, high in rows:
        ratios = (f"{a:.2f}, {b:.2f}" for a, b in zip(low["ratios"], high["ratios"]))
        row(f"`{name}`", f"{assumed[name]:g}", ASSUMED[name][1], f"{100 * low['share']:.0f} %, {100 * high['share']:.0f} %", *ratios)


def summary(name, device, found):
    """The JSON line: the first peer is the one of `ratio`."""
    ours, (peer, *others) = found["ours"], found["peers"].values()
    more = {} if name == "pairs" else {"workload": name}
    if others:
        more |= {"pairs": ours.units, "peer_pairs": peer.units, "listwise_pairs": others[0].units, "listwise_tokens": others[0].tokens, "listwise_step_ms": round(1e3 * others[0].total, 1), "listwise_ratio": round(found["ratios"][1], 2)}
    return {"name": "gpu-model", "modelled": True, "device": device, "tokens": ours.tokens, "peer_tokens": peer.tokens, "step_ms": round(1e3 * ours.total, 1), "peer_step_ms": round(1e3 * peer.total, 1),
            "tflops": round(found["tflops"], 1), "share_of_peak": round(found["share"], 3), "ratio": round(found["ratios"][0], 2), **more}


def assumptions(changes):
    values = {name: value for name, (value, _) in ASSUMED.items()}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in values:
            raise SystemExit(f"--set {change}: no such assumption; there are {', '.join(values)}")
        try:
            values[name] = float(value)
        except ValueError:
            values[name] = 0
        if values[name] <= 0:
            raise SystemExit(f"--set {change}: expected a number above 0")
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=["pairs", "groups", "best-of"], default="pairs")
    parser.add_argument("--device", choices=sorted(MEMORY_GB_S), default="h100")
    shape = {"pairs": 64, "prompt": 119, "response": 45}
    for name, number in shape.items():
        parser.add_argument("--" + name, type=int, help=f"of the workload pairs; default: {number}")
    parser.add_argument("--real-lengths", action="store_true", help="lengths spread as in HH instead of means, so that the peer pads")
    parser.add_argument("--set", nargs="+", default=[], metavar="ASSUMPTION=VALUE", help=", ".join(ASSUMED))
    a = parser.parse_args()
    given = {name: getattr(a, name) for name in shape if getattr(a, name) is not None}
    if a.workload != "pairs" and (given or a.real_lengths):
        parser.error(f"--{next(iter(given), 'real-lengths')} is of --workload pairs: {a.workload} has the shapes of launch/dev gpu")
    shape |= given
    if min(shape.values()) < 1:
        parser.error("--pairs, --prompt and --response are numbers above 0")
    assumed = assumptions(a.set)
    groups = [(shape["prompt"], [shape["response"]] * 2)] * shape["pairs"]
    if a.real_lengths:
        groups = [(len(g["prefix"]), [len(r) for r in g["responses"]]) for g in pairs_like_hh(shape["pairs"], 151936)]
    work = workload(a.workload, groups)
    found = figures(work, a.device, assumed)
    show(work, found, assumed, moved(work, a.device, assumed))
    print(json.dumps(summary(a.workload, a.device, found)))


if __name__ == "__main__":
    main()
