"""gpu-model: what a training step of 64 HH pairs over Qwen2.5-1.5B in bfloat16 should take on an H100 or H200, ours and that of transformers with PEFT. MODELLED, NOT RUN: it needs no GPU and measures nothing.

    gpu_model.py [--device h100|h200] [--pairs 64 --prompt 119 --response 45] [--real-lengths] [--set ASSUMPTION=VALUE...]

Operations, bytes and launches are counted from the shapes, the kernels and the counting runtime; rates are assumed, each by name. Prints tables as docs/results/gpu.md has them: seconds by kind of work, the
share of the matrix peak, the ratio to the peer, and how much each assumption moves them. The share counts useful operations as bench_train_step does. Ends with one JSON line.
"""
import argparse
import json

from made_up_groups import pairs_like_hh

LAYERS, WIDTH, INNER, Q, KV, HEADS, RANK = 28, 1536, 8960, 1536, 256, 12, 32  # Qwen2.5-1.5B, LoRA on q and v
LAYER_MACS = WIDTH * (Q + 2 * KV) + Q * WIDTH + 3 * WIDTH * INNER
ADAPTER = LAYERS * RANK * (WIDTH + Q + WIDTH + KV)
MEMORY_GB_S = {"h100": 3350, "h200": 4800}  # the makers' figures
PEER_PAIRS = {"h100": (8, 32), "h200": (8, 32, 64)}  # of a pass; what autograd keeps of 64 pairs, some 135 kB for a token and layer, fits 141 GB only
LAUNCHES, PEER_LAUNCHES = 1346, 4111  # of a step of one pass, and of the peer's pass: docs/results/gpu.md, counted
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
}


def ours_bytes():
    """Bytes of a row in a layer, forward and backward, by kernel: kernels/README.md times how often src/nn/decoder_layer.cpp calls it."""
    return {
        "SwiGLU, gradient": (6 + 10) * INNER,
        "norms and residual sums (the first norm again backward)": (4 + 8 + 4 + 8 + 8) * WIDTH,
        "residual that the product of down copies": 4 * WIDTH,
        "rotary embedding": 4 * (Q + KV),
        "merging attention's calls, their gradients": 6 * Q + 12 * HEADS + 6 * (Q + 2 * KV),
        "dropout": (4 + 4 + 6) * WIDTH,
        "LoRA's factors": (2 + 2 + 2 + 2) * WIDTH + (4 + 2 + 2) * (Q + KV),
    }


def peer_bytes():
    """The same for transformers' Qwen2 layer and PEFT's LoRA on it, whose source makes each operation and each gradient a pass of its own; adapters in float32."""
    norm = (6 + 8 + 4 + 8 + 6 + 4) + (4 + 6 + 8 + 16 + 16 + 12 + 6)  # to float32, square, mean, scale, back, weight; gradients of weight, dtype, scale twice, square, their sum, dtype
    turn = (2 + 4 + 4 + 4 + 6) + (4 + 4 + 2 + 8 + 12)  # minus, concatenation, two products, sum; gradients of products, minus, slices, and two sums
    factor = (6 + 9 + 4) + (9 + 4 + 4 + 6 + 6)  # to float32, dropout with a mask, product; gradients, their sum in bfloat16
    result = (4 + 8 + 10 + 6) + (6 + 6 + 8 + 4 + 4)  # product, scaling, sum, back to bfloat16; gradients
    return {
        "SwiGLU, gradient": (4 + 6 + 6 + 6 + 6) * INNER,
        "norms": 2 * norm * WIDTH,
        "residual sums, and sums of gradients": (2 + 2 + 2 + 1) * 6 * WIDTH,
        "rotary embedding": turn * (Q + KV),
        "layout of heads": 4 * 2 * (Q + 2 * KV),
        "LoRA with dropout": 2 * factor * WIDTH + result * (Q + KV),
    }


def tiles(queries, keys, causal):
    """Pairs of rows in the tiles of 128 queries and 64 keys that flash attention computes."""
    total = 0
    for begin in range(0, queries, 128):
        seen = min(keys, keys - queries + begin + 128) if causal else keys
        total += 128 * 64 * -(-seen // 64)
    return total


def visible(prompt, responses):
    return prompt * (prompt + 1) // 2 + sum(r * prompt + r * (r + 1) // 2 for r in responses)


def layered(bytes_of, rows, rate):
    return sum(bytes_of.values()) * rows * LAYERS / (rate * 1e9)


def step(groups, device, a):
    """Seconds of our step by kind of work, and its useful operations."""
    tokens, reads = sum(p + sum(rs) for p, rs in groups), sum(len(rs) for _, rs in groups)
    useful_pairs = sum(visible(p, rs) for p, rs in groups)
    tiled = sum(tiles(p, p, True) + sum(tiles(r, r, True) for r in rs) + tiles(sum(rs), p, False) for p, rs in groups)
    useful = {"products": 4.0 * LAYERS * LAYER_MACS * tokens, "LoRA": 6.0 * ADAPTER * tokens, "attention": 12.0 * useful_pairs * Q * (LAYERS - 1)}
    last = (LAYER_MACS - 2 * WIDTH * KV) * (tokens - reads)  # the last layer's queries, output and MLP, for rows that nothing reads
    computed = useful["products"] - 4.0 * last - 2.0 * WIDTH * (Q + 2 * KV) * tokens  # and no gradient of the first layer's input
    seconds = {
        "matrix products": computed / (a["matrix_peak"] * a["products_reach"] * 1e12),
        "elementwise kernels, LoRA": layered(ours_bytes(), tokens, MEMORY_GB_S[device] * a["memory_reach"]),
        "attention": attention_seconds(tiled, a),
        "gaps between kernels": LAUNCHES * a["gap_us"] * 1e-6,
        "waits": 2 * a["idle_ms"] * 1e-3,
    }
    return behind_the_host(seconds, LAUNCHES * a["launch_us"] * 1e-6), sum(useful.values())


def peer_step(groups, device, a):
    """The same of the peer, each text in full, at the fastest size of passes. -> seconds, padded tokens"""
    return min((peer_passes(groups, size, device, a) for size in PEER_PAIRS[device]), key=lambda found: sum(found[0].values()))


def peer_passes(groups, size, device, a):
    """Passes of so many pairs, sorted by length and padded to the longest text."""
    texts, tokens, tiled, passes = sorted(([p + r for r in rs] for p, rs in groups), key=max), 0, 0, 0
    for begin in range(0, len(texts), size):
        part = sum(texts[begin:begin + size], [])
        longest, passes = max(part), passes + 1
        tokens += longest * len(part)
        tiled += tiles(longest, longest, True) * len(part)
    seconds = {
        "matrix products": 4.0 * LAYERS * LAYER_MACS * tokens / (a["matrix_peak"] * a["products_reach"] * 1e12),
        "elementwise kernels, LoRA": layered(peer_bytes(), tokens, MEMORY_GB_S[device] * a["memory_reach"]) + 6.0 * ADAPTER * tokens / (a["float32"] * 1e12),
        "attention": attention_seconds(tiled, a),
        "gaps between kernels": passes * PEER_LAUNCHES * a["gap_us"] * 1e-6,
        "waits": a["idle_ms"] * 1e-3,
    }
    return behind_the_host(seconds, passes * PEER_LAUNCHES * a["peer_launch_us"] * 1e-6), tokens


def attention_seconds(tiled, a):
    """Two products of each pair of rows in the tiles forward, and five backward."""
    operations = tiled * Q * LAYERS * 1e-12
    return 4 * operations / a["flash_forward"] + 10 * operations / a["flash_backward"]


def behind_the_host(seconds, host):
    return {**seconds, "behind the host": max(0.0, host - sum(seconds.values()))}


def figures(groups, device, a):
    ours, useful = step(groups, device, a)
    peer, peer_tokens = peer_step(groups, device, a)
    total, peer_total = sum(ours.values()), sum(peer.values())
    return {"ours": ours, "peer": peer, "step_s": total, "peer_step_s": peer_total, "tflops": useful / total * 1e-12, "useful_tflop": useful * 1e-12, "peer_tokens": peer_tokens,
            "share": useful / total * 1e-12 / a["matrix_peak"], "ratio": peer_total / total}


def moved(groups, device, a):
    """Share and ratio with each assumption a quarter lower and higher, the one that moves the share most first."""
    rows = []
    for name in a:
        low, high = (figures(groups, device, {**a, name: a[name] * factor}) for factor in (0.75, 1.25))
        rows.append((name, low, high))
    return sorted(rows, key=lambda row: (-abs(row[2]["share"] - row[1]["share"]), -abs(row[2]["ratio"] - row[1]["ratio"])))


def show(found, assumed, rows, tokens):
    print(f"Modelled, not run. {tokens} tokens of ours, {found['peer_tokens']} of the peer's; {found['useful_tflop']:.1f} TFLOP of useful operations.\n\n| work | ours, ms | transformers with PEFT, ms |\n|---|---|---|")
    for name in found["ours"]:
        print(f"| {name} | {1e3 * found['ours'][name]:.1f} | {1e3 * found['peer'][name]:.1f} |")
    print(f"| step | {1e3 * found['step_s']:.0f} | {1e3 * found['peer_step_s']:.0f} |")
    print(f"\n{found['tflops']:.0f} TFLOP/s, {100 * found['share']:.0f} % of the assumed matrix peak; {found['ratio']:.2f} times the peer's pairs/s\n\n| assumed | value | what it is | share with 3/4 and 5/4 of it | ratio |\n|---|---|---|---|---|")
    for name, low, high in rows:
        print(f"| `{name}` | {assumed[name]:g} | {ASSUMED[name][1]} | {100 * low['share']:.0f} %, {100 * high['share']:.0f} % | {low['ratio']:.2f}, {high['ratio']:.2f} |")


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
    parser.add_argument("--device", choices=sorted(MEMORY_GB_S), default="h100")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=119)
    parser.add_argument("--response", type=int, default=45)
    parser.add_argument("--real-lengths", action="store_true", help="lengths spread as in HH instead of means, so that the peer pads")
    parser.add_argument("--set", nargs="+", default=[], metavar="ASSUMPTION=VALUE", help=", ".join(ASSUMED))
    a = parser.parse_args()
    if min(a.pairs, a.prompt, a.response) < 1:
        parser.error("--pairs, --prompt and --response are numbers above 0")
    assumed = assumptions(a.set)
    groups = [(a.prompt, [a.response] * 2)] * a.pairs
    if a.real_lengths:
        groups = [(len(g["prefix"]), [len(r) for r in g["responses"]]) for g in pairs_like_hh(a.pairs, 151936)]
    found, tokens = figures(groups, a.device, assumed), sum(p + sum(rs) for p, rs in groups)
    show(found, assumed, moved(groups, a.device, assumed), tokens)
    print(json.dumps({"name": "gpu-model", "modelled": True, "device": a.device, "tokens": tokens, "peer_tokens": found["peer_tokens"], "step_ms": round(1e3 * found["step_s"], 1),
                      "peer_step_ms": round(1e3 * found["peer_step_s"], 1), "tflops": round(found["tflops"], 1), "share_of_peak": round(found["share"], 3), "ratio": round(found["ratio"], 2)}))


if __name__ == "__main__":
    main()
