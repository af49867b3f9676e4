"""What score-best-of and score-latency share: one request at a time to `dmoerm serve`, in turns with the peer, on a bundle with made-up weights."""
import argparse
import contextlib
import importlib.util
import json
import os
import re
import resource
import statistics
import sys
import time
from pathlib import Path

from bench_common import DEFAULT_MODEL, ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.path.insert(0, os.path.join(ROOT, "launch", "python"))
from made_up_bundle import make_bundle  # noqa: E402
from reward_server import Client, RewardServer  # noqa: E402
from serve_load import make_rows  # noqa: E402

NEEDED = ("torch", "transformers", "peft")
NEEDED_BY_OURS = ("torch", "safetensors")  # to make the bundle
# In float32 the two differ by the order of sums. In bfloat16 each rounds its states about four times a layer to 8 bits, at other places than the other: over 28 layers that moves a reward of size one by about
# 2^-9 * sqrt(4 * 28) = 0.02, and a score, which adds six with weights up to one, by up to sqrt(6) times as much; twice that is allowed.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}


def parse(doc, responses, prompt_words, response_words, rounds=3):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--part", choices=["all", "top"], default="all", help="layers with adapters")
    parser.add_argument("--top-layers", type=int, help="number of the top layers; implies --part top (default: 6)")
    parser.add_argument("--experts", type=int, default=6)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--responses", type=int, default=responses)
    parser.add_argument("--prompt-words", type=int, default=prompt_words, help="a word is about a token")
    parser.add_argument("--response-words", type=int, default=response_words)
    parser.add_argument("--weights", choices=["float32", "int8"], default="float32", help="int8: ours with int8 weights in turns with ours with float32, without the peer")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the bundle and of the peer; a GPU is made for bfloat16")
    parser.add_argument("--batch-tokens", type=int, default=2048, help="most tokens of a pass of ours; a GPU needs more to be busy")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of ours and of the peer")
    parser.add_argument("--peer-batch", type=int, default=0, help="texts of a padded batch; default: the fastest of 1, 4, 16 and 64")
    parser.add_argument("--ours-only", action="store_true", help="without the peer, and without a comparison of scores")
    parser.add_argument("--work", default=os.path.join(ROOT, "runs", "score-bench"))
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    if args.top_layers:
        args.part = "top"
    args.top_layers = (args.top_layers or 6) if args.part == "top" else 0
    return args


class Ours:
    def __init__(self, program, bundle, args, weights):
        options = [] if weights == "float32" else ["--weights", weights]  # older programs do not know the option
        options += [] if args.device == "cpu" else ["--device", args.device]
        self.server = RewardServer(program, [bundle], *options, threads=args.threads)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.__exit__()

    def reads(self, row):
        return row

    def score(self, row):
        client = Client(self.server.port, timeout=3600)  # a new one each time: the server closes those that idle
        status, reply = client.ask("POST", "/v1/reward", row, {"X-Request-Timeout": "3600"})
        client.close()
        if status != 200:
            raise SystemExit(f"the server answered {status}: {reply}")
        return reply["scores"]

    def peak_mib(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="utf-8") as file:
            return int(re.search(r"VmHWM:\s*(\d+)", file.read())[1]) // 1024


class Peer:
    def __init__(self, bundle, manifest, args, row):
        from dmoerm_hf.chat_template import ChatTemplate
        from dmoerm_hf.texts import messages_of
        from dmoerm_hf.tokens import Tokenizer
        from peer_scorer import PeerScorer
        template = ChatTemplate.of(manifest, Tokenizer(Path(bundle) / "base" / "tokenizer.json"), bundle)
        self.reads = lambda row: (template.ids(messages_of(row["prompt"]), None), [template.ids(messages_of(row["prompt"]), one) for one in row["responses"]])
        self.scorer = PeerScorer(bundle, {c["name"]: c["points"] for c in manifest["categories"]}, args.threads, args.peer_batch, args.device, args.dtype)
        tried = self.scorer.choose_batch(self.reads(row)[1])
        print("peer: seconds of one expert by texts of a batch:", {size: round(seconds, 2) for size, seconds in tried.items()}, flush=True)

    def score(self, ids):
        return self.scorer.score(*ids)

    def peak_mib(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def timed(work):
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def differences(ours, others):
    """Largest difference of a score; the same as a multiple of the deviation within its group; share of all pairs of a group that both order alike."""
    worst, relative, alike, pairs = 0.0, 0.0, 0, 0
    for a, b in zip(ours, others):
        most = max(abs(x - y) for x, y in zip(a, b))
        worst = max(worst, most)
        if len(b) > 1:
            relative = max(relative, most / max(statistics.pstdev(b), 1e-9))
        for i in range(len(a)):
            for j in range(i):
                pairs += 1
                alike += (a[i] > a[j]) == (b[i] > b[j])
    return {"largest_difference": worst, "of_deviation": round(relative, 4), "same_order": round(alike / pairs, 4) if pairs else None}


def measure(name, args):
    program = os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")
    absent = [package for package in (NEEDED_BY_OURS if args.ours_only else NEEDED) if importlib.util.find_spec(package) is None]
    if absent:
        return print(f"skipped: {', '.join(absent)} not installed: launch/setup.sh --with tests")
    os.makedirs(args.work, exist_ok=True)
    bundle = os.path.join(args.work, f"{args.part}-{args.top_layers}-{args.experts}-{args.rank}" + ("" if args.dtype == "float32" else "-" + args.dtype) + ("" if args.batch_tokens == 2048 else f"-{args.batch_tokens}"))
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        layers = json.load(file)["num_hidden_layers"]
    make_bundle(args.model, bundle, program, categories=2, points=args.experts, rank=args.rank, max_length=1024, top_layers=args.top_layers, router_layers=-(-2 * layers // 3), dtype=args.dtype, device=args.device,
                all_golden=False, batch_tokens=args.batch_tokens)
    with open(os.path.join(bundle, "dmoerm.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    rows = make_rows(args.rounds + 1, args.responses, args.prompt_words, args.response_words, args.seed)
    other = "float32" if args.weights == "int8" else None if args.ours_only else "peer"
    sides = ["ours", other] if other else ["ours"]
    seconds, scores = {side: [] for side in sides}, {side: [] for side in sides}
    with contextlib.ExitStack() as servers:
        scorers = {"ours": servers.enter_context(Ours(program, bundle, args, args.weights))}
        if other == "float32":
            scorers[other] = servers.enter_context(Ours(program, bundle, args, "float32"))
        for ours in scorers.values():
            ours.score(rows[0])
        if other == "peer":
            scorers[other] = Peer(bundle, manifest, args, rows[1])
        for which, row in enumerate(rows[1:]):
            given = {side: scorers[side].reads(row) for side in sides}
            for side in sides if which % 2 else reversed(sides):
                spent, found = timed(lambda side=side, given=given: scorers[side].score(given[side]))
                seconds[side].append(spent)
                scores[side].append(found)
            print(", ".join(f"{side} {seconds[side][-1]:.3f} s" for side in sides), flush=True)
        memory = {side: scorers[side].peak_mib() for side in sides}
    medians = {side: round(statistics.median(own), 4) for side, own in seconds.items()}
    result = {"name": name, "unit": "s", "part": args.part, "top_layers": args.top_layers, "experts": args.experts, "responses": args.responses, "weights": args.weights, "dtype": args.dtype, "device": args.device, "threads": args.threads,
              **medians, "spread": {side: [round(min(own), 4), round(max(own), 4)] for side, own in seconds.items()}, "peak_mib": memory}
    if other:
        result |= {"ratio": round(medians[other] / medians["ours"], 3), **differences(scores["ours"], scores[other])}
    if other == "peer":
        prompt, texts = scorers["peer"].reads(rows[1])
        result |= {"peer_batch": scorers["peer"].scorer.batch, "tokens": {"prompt": len(prompt), "texts": sum(map(len, texts))}}
    print(json.dumps(result))
    if other == "peer" and result["largest_difference"] > TOLERANCE[args.dtype]:
        raise SystemExit(f"the scores differ by {result['largest_difference']:.2g}, more than {TOLERANCE[args.dtype]:g}")
