#!/usr/bin/env python3
"""Single-thread speed of our tokenizer beside the `tokenizers` package: same texts, warm caches, passes taken in turn, medians.

    launch/bench.sh tokenizer-speed --data FILE.jsonl[.gz] [--passes 7] [--megabytes 4] TOKENIZER

The texts are all strings of 20 and more characters in the rows of FILE. The package runs encode_batch and encode_batch_fast; the faster counts.
Last line: {"name","unit","ours","peer","ratio","spread"} in megabytes of UTF-8 a second. Needs: pip install tokenizers==0.23.3.
"""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer  # noqa: E402  (reads the environment)

PROGRAM = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_tokenizer")


def strings(value):
    if isinstance(value, str):
        if len(value) >= 20:
            yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("--data", required=True)
    parser.add_argument("--passes", type=int, default=7)
    parser.add_argument("--megabytes", type=float, default=4)
    args = parser.parse_args()
    path = os.path.join(args.tokenizer, "tokenizer.json") if os.path.isdir(args.tokenizer) else args.tokenizer
    texts, size = [], 0
    with (gzip.open if args.data.endswith(".gz") else open)(args.data, "rt", encoding="utf-8") as rows:
        for row in rows:
            for text in strings(json.loads(row)):
                if size < args.megabytes * 1e6:
                    texts.append(text)
                    size += len(text.encode())
    peer = Tokenizer.from_file(path)
    peer.no_truncation()
    peer.no_padding()

    def timed(call):
        start = time.perf_counter()
        result = call()
        return time.perf_counter() - start, sum(len(e.ids) for e in result)

    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(t) + "\n" for t in texts)
        file.flush()
        program = subprocess.Popen([PROGRAM, path, file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ours():
            program.stdin.write("\n")
            program.stdin.flush()
            seconds, tokens = program.stdout.readline().split()
            return float(seconds), int(tokens)

        runs = {"ours": ours, "encode_batch": lambda: timed(lambda: peer.encode_batch(texts, add_special_tokens=False)),
                "encode_batch_fast": lambda: timed(lambda: peer.encode_batch_fast(texts, add_special_tokens=False))}
        rates = {name: [] for name in runs}
        for turn in range(args.passes + 1):
            counts = set()
            for name, run in runs.items():
                seconds, tokens = run()
                counts.add(tokens)
                if turn > 0:
                    rates[name].append(size / 1e6 / seconds)
            if len(counts) != 1:
                sys.exit(f"the two sides made different numbers of tokens: {counts}")
        program.stdin.close()
        program.wait()
    median = {name: statistics.median(r) for name, r in rates.items()}
    for name, r in rates.items():
        print(f"{name}: median {median[name]:.2f} MB/s, {min(r):.2f} to {max(r):.2f} over {len(r)} passes of {size / 1e6:.1f} MB, {counts} tokens")
    best = max(("encode_batch", "encode_batch_fast"), key=median.get)
    ratios = [a / b for a, b in zip(rates["ours"], rates[best])]
    print(json.dumps({"name": "tokenizer", "unit": "MB/s", "ours": round(median["ours"], 2), "peer": round(median[best], 2),
                      "ratio": round(statistics.median(ratios), 2), "spread": [round(min(ratios), 2), round(max(ratios), 2)]}))


if __name__ == "__main__":
    main()
