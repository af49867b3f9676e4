"""emr-memory: memory and speed of `dmoerm serve` with a compressed bundle (`export --compress emr`) beside the plain bundle that it was made from.

    emr_memory.py [--categories 3] [--points 3] [--requests 12] [--rounds 3] [--weights float32|int8] [--threads 2]

A bundle of SmolLM2 with made-up weights, in which every category and the single model have a backbone of their own. Two servers answer the same requests in turns: `one_category` asks one category again and
again, one request at a time; `in_turns` asks another category each time, so that a compressed bundle makes the layers whole for every request; `together` sends the requests of all categories at once, which the
server batches. Texts a second, medians of the rounds. A request must get the same scores each time. `start_mib` is the resident memory before the first request, `peak_mib` the largest. Ends with one JSON line;
`ratio` is the peak memory of the compressed bundle to that of the plain one.
"""
import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor

from bench_common import DEFAULT_MODEL, ROOT
from made_up_bundle import make_bundle
from score_bench import Ours, timed
from serve_load import make_rows

NEEDED = ("torch", "safetensors")


def disk_mib(folder):
    return sum(os.path.getsize(os.path.join(where, file)) for where, _, files in os.walk(folder) for file in files) // 2**20


def bundles_of(program, args):
    """-> folders of the plain and the compressed bundle, made unless they are there"""
    plain = os.path.join(args.work, f"whole-{args.categories}-{args.points}-{args.rank}")
    compressed = plain + "-emr"
    make_bundle(args.model, plain, program, categories=args.categories, points=args.points, rank=args.rank, max_length=1024, whole=True)
    if not os.path.exists(os.path.join(compressed, "dmoerm.json")):
        subprocess.run([program, "export", "--bundle", plain, "--out", compressed, "--compress", "emr"], check=True, stdout=subprocess.DEVNULL)
    return {"plain": plain, "compressed": compressed}


class Side:
    """A server with one of the bundles."""

    def __init__(self, server):
        self.server, self.start_mib = server, round(server.server.memory_mib())
        self.speeds, self.scores = {}, {}

    def ask(self, row):
        scores = self.server.score(row)
        if self.scores.setdefault(json.dumps(row), scores) != scores:
            raise SystemExit(f"a request has the scores {scores}, before it had {self.scores[json.dumps(row)]}")

    def measure(self, part, rows, at_once):
        with ThreadPoolExecutor(at_once) as pool:
            seconds, _ = timed(lambda: list(pool.map(self.ask, rows)))
        self.speeds.setdefault(part, []).append(sum(len(row["responses"]) for row in rows) / seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--categories", type=int, default=3)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--requests", type=int, default=12, help="of each part in a round")
    parser.add_argument("--responses", type=int, default=2)
    parser.add_argument("--prompt-words", type=int, default=60, help="a word is about a token")
    parser.add_argument("--response-words", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", choices=["float32", "int8"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", default=os.path.join(ROOT, "runs", "emr-memory"))
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    absent = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if absent:
        return print(f"skipped: {', '.join(absent)} not installed: launch/setup.sh --with tests")
    program = os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")
    os.makedirs(args.work, exist_ok=True)
    bundles = bundles_of(program, args)
    rows = make_rows(args.requests, args.responses, args.prompt_words, args.response_words, args.seed)
    mixed = [{**row, "use_category": f"category_{i % args.categories}"} for i, row in enumerate(rows)]
    parts = {"one_category": ([{**row, "use_category": "category_0"} for row in rows], 1), "in_turns": (mixed, 1), "together": (mixed, args.requests)}
    with contextlib.ExitStack() as servers:
        sides = {name: Side(servers.enter_context(Ours(program, bundle, args, args.weights))) for name, bundle in bundles.items()}
        for which in range(args.rounds):
            for part, (asked, at_once) in parts.items():
                for name in sides if which % 2 else reversed(sides):
                    sides[name].measure(part, asked, at_once)
                print(part + ":", ", ".join(f"{name} {side.speeds[part][-1]:.2f} texts/s" for name, side in sides.items()), flush=True)
        found = {name: {"disk_mib": disk_mib(bundles[name]), "start_mib": side.start_mib, "peak_mib": side.server.peak_mib(),
                        "texts_per_s": {part: round(statistics.median(speeds), 2) for part, speeds in side.speeds.items()},
                        "spread": {part: [round(min(speeds), 2), round(max(speeds), 2)] for part, speeds in side.speeds.items()}} for name, side in sides.items()}
    print(json.dumps({"name": "emr-memory", "unit": "MiB", "backbones": args.categories + 1, "points": args.points, "weights": args.weights, "threads": args.threads, "requests": args.requests,
                      "rounds": args.rounds, **found, "ratio": round(found["compressed"]["peak_mib"] / found["plain"]["peak_mib"], 3)}))


if __name__ == "__main__":
    main()
