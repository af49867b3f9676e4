"""train-minilm: training steps of one LoRA expert on MiniLM (an encoder), one thread, ours against a hand loop of transformers and PEFT without padding.

The same pairs of made-up token ids (lengths as in HH), batches of 8 pairs, LoRA of rank 32 on query and value without dropout, float32. The loop runs each text by itself, so that nothing is padded;
`padded_ratio` is against the usual loop, which sorts by length and pads micro batches of two pairs. They run in turns; pairs/s, medians. The peers run on DMOERM_PEER_PYTHON, or on the project's
own Python, which has both packages for tests. Ends with one JSON line.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from bench_common import last_json, run_ours, verdict, write_lines
from made_up_groups import unshared_pairs

MODEL = os.path.join(os.environ.get("DMOERM_MODELS", ""), "minilm-l6")


def peer(model, groups, threads, *options):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "support", "peer_minilm.py")
    return last_json(subprocess.run([sys.executable, script, "--model", model, "--groups", groups, "--threads", str(threads), *options], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    with open(os.path.join(a.model, "config.json"), encoding="utf-8") as file:
        vocabulary = json.load(file)["vocab_size"]
    ours, alone, padded = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        groups = write_lines(os.path.join(folder, "groups.jsonl"), unshared_pairs(a.pairs, vocabulary))
        for _ in range(a.repeats):
            own = run_ours(a.model, groups, a.threads, "--groups-per-step", 8, "--repeats", 3)
            one, other = peer(a.model, groups, a.threads), peer(a.model, groups, a.threads, "--padded")
            ours.append(own["pairs_per_s"])
            alone.append(one["pairs_per_s"])
            padded.append(other["pairs_per_s"])
            print(f"ours {ours[-1]:.2f} pairs/s, without padding {alone[-1]:.2f}, padded {padded[-1]:.2f}; first loss {own['first_loss']:.4f}, {one['first_loss']:.4f}, {other['first_loss']:.4f}", flush=True)
    verdict("train-minilm", "pairs/s", ours, alone, padded=round(statistics.median(padded), 4), padded_ratio=round(statistics.median(ours) / statistics.median(padded), 3), threads=a.threads)


if __name__ == "__main__":
    main()
