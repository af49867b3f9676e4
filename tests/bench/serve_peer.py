"""serve-peer: throughput of `dmoerm serve` beside a server of transformers and PEFT behind FastAPI, on the same bundle, for the same clients.

    serve_peer.py [--bundle DIR | --smollm2] [--rounds 3] [--seconds 30] [--connections N] [--threads N]

The peer is support/peer_server.py on what `dmoerm export` writes. The bodies are best-of-8: prompts of about 200 tokens, responses of about 60. Both servers run all the time, and are asked in turns; the one
that is not asked waits without work. Answers are compared with those of `dmoerm score`: ours bit for bit, the peer's within 1e-3 (`peer_wrong`, `peer_worst`). `ratio` is that of the medians. `--smollm2`
makes a bundle of SmolLM2 with six experts and made-up weights in `--work` first. Needs fastapi, uvicorn, transformers and peft (launch/setup.sh --with tests). Skipped without them.
"""
import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

from bench_common import DEFAULT_MODEL, ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from made_up_bundle import make_bundle  # noqa: E402
from reward_server import RewardServer, offline_scores  # noqa: E402
from serve_load import Load, make_rows  # noqa: E402

NEEDED = ("fastapi", "uvicorn", "transformers", "peft")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Peer:
    def __init__(self, bundle, exported, threads, options):
        self.port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support", "peer_server.py"), "--bundle", bundle, "--exported", exported]
        self.process = subprocess.Popen(command + ["--port", str(self.port), "--threads", str(threads), *options], env=environment)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5).read()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("the peer's server did not start")
                time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


async def measure(args, ports, rows, scores):
    """-> {server: [texts a second]}, {server: [loads]}"""
    rates, loads = {name: [] for name in ports}, {name: [] for name in ports}
    for which in range(args.rounds + 1):
        for name in ports if which % 2 else reversed(ports):
            load = Load(ports[name], rows, scores, tolerance=0.0 if name == "ours" else 1e-3)
            rate = await load.closed(args.connections, args.seconds if which else args.warm_seconds)
            loads[name].append(load)
            if which:
                rates[name].append(rate * args.responses)
    return rates, loads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quickstart = os.path.join(ROOT, "runs", "quickstart", "bundle")
    parser.add_argument("--bundle", default=quickstart)
    parser.add_argument("--smollm2", action="store_true")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--work", default=os.path.join(ROOT, "runs", "serve-peer"))
    parser.add_argument("--exported", help="what `dmoerm export` wrote of the bundle before; default: it is written now")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--warm-seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, help="default: 64, of SmolLM2 8, as the peer needs 14 s for each answer")
    parser.add_argument("--responses", type=int, default=8)
    parser.add_argument("--prompt-words", type=int, default=None)
    parser.add_argument("--response-words", type=int, default=None)
    parser.add_argument("--bodies", type=int, help="default: 40, of SmolLM2 8")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer-batch-tokens", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return print(f"skipped: {', '.join(absent)} not installed: launch/setup.sh --with tests")
    program = os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")
    args.connections, args.bodies = args.connections or (8 if args.smollm2 else 64), args.bodies or (8 if args.smollm2 else 40)
    os.makedirs(args.work, exist_ok=True)
    if args.smollm2:
        args.bundle = os.path.join(args.work, "smollm2")
        make_bundle(args.model, args.bundle, program)
    with open(os.path.join(args.bundle, "dmoerm.json"), encoding="utf-8") as file:
        longest = json.load(file)["max_length"]
    # Most of the words are one token. The rest and what stands around the texts take less than 40.
    response_words = args.response_words or 58
    prompt_words = args.prompt_words or min(195, longest - response_words - 40)
    rows = make_rows(args.bodies, args.responses, prompt_words, response_words, args.seed)
    offline = offline_scores(program, args.bundle, rows, threads=args.threads)
    if any(cut for row in offline for cut in row["cut_tokens"]):
        raise SystemExit(f"{prompt_words} and {response_words} words are more than the bundle's {longest} tokens: give --prompt-words and --response-words")
    scores = [row["scores"] for row in offline]
    exported = args.exported
    if exported is None:
        exported = os.path.join(args.work, "exported")
        shutil.rmtree(exported, ignore_errors=True)
        subprocess.run([program, "export", "--bundle", args.bundle, "--out", exported], check=True, capture_output=True)
    with RewardServer(program, [args.bundle], threads=args.threads) as ours, Peer(args.bundle, exported, args.threads, ["--batch-tokens", str(args.peer_batch_tokens)]) as peer:
        rates, loads = asyncio.run(measure(args, {"ours": ours.port, "peer": peer.port}, rows, scores))
    count = lambda name, what: sum(getattr(load, what) for load in loads[name])
    ours, theirs = statistics.median(rates["ours"]), statistics.median(rates["peer"])
    others = sum(sum(load.others.values()) + load.refused for own in loads.values() for load in own)
    print(json.dumps({"name": "serve-peer", "unit": "texts/s", "bundle": os.path.relpath(args.bundle, ROOT), "ours": round(ours, 2), "peer": round(theirs, 2), "ratio": round(ours / theirs, 2),
                      "spread": {name: [round(min(own), 2), round(max(own), 2)] for name, own in rates.items()}, "wrong": count("ours", "wrong"), "lost": count("ours", "lost") + count("peer", "lost"),
                      "refused": others, "peer_wrong": count("peer", "wrong"), "peer_worst": max(load.worst for load in loads["peer"]), "prompt_words": prompt_words, "response_words": response_words}))


if __name__ == "__main__":
    main()
