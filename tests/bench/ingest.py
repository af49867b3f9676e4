"""ingest: time and largest memory of `dmoerm ingest` on a large JSONL file of pairs, against the 40 s per GB and the 1 GiB that it may take.

Writes --megabytes of preference pairs (random words, no two prompts equal) into a temporary folder, ingests them with MiniLM's tokenizer, and reads the
kernel's figure for the process. Needs three times that room in TMPDIR. Ends with one JSON line: `ours` is the time of the whole ingest, two passes over the
file, `peer` the time that it may take, `ratio` the first over the second; `memory_mib` beside `memory_limit_mib`.
"""
import argparse
import json
import os
import random
import resource
import subprocess
import tempfile
import time

ROOT = os.environ["DMOERM_ROOT"]
LIMIT_S_PER_GB = 40
LIMIT_MIB = 1024


def write_pairs(path, size):
    rng = random.Random(5)
    words = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 9))) for _ in range(5000)]
    written = number = 0
    with open(path, "w", encoding="utf-8") as f:
        while written < size:
            def text(low, high):
                return " ".join(rng.choices(words, k=rng.randint(low, high)))
            written += f.write(json.dumps({"prompt": f"{number} {text(20, 80)}", "chosen": text(40, 160), "rejected": text(40, 160)}) + "\n")
            number += 1
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=1000)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_pairs(f"{folder}/pairs.jsonl", a.megabytes * 1e6)
        began = time.time()
        subprocess.run([f"{ROOT}/launch/dmoerm", "ingest", f"{folder}/pairs.jsonl", "--model", f"{os.environ['DMOERM_MODELS']}/minilm-l6", "--out", f"{folder}/store.h5"],
                       check=True, stdout=subprocess.DEVNULL)
        seconds = time.time() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{pairs} pairs, {os.path.getsize(f'{folder}/store.h5') / 1e6:.0f} MB of store, {a.megabytes / seconds:.2f} MB/s")
    limit = LIMIT_S_PER_GB * a.megabytes / 1000
    print(json.dumps({"name": "ingest", "unit": "s", "ours": round(seconds, 1), "peer": round(limit, 1), "ratio": round(seconds / limit, 2), "spread": None,
                      "megabytes": a.megabytes, "memory_mib": round(peak), "memory_limit_mib": LIMIT_MIB}))


if __name__ == "__main__":
    main()
