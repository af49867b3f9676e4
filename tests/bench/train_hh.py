"""train-hh: training steps of one LoRA expert on real preference pairs (HH), ours against the best peer loop (transformers + PEFT).

Both get the same pairs, token ids, batch of 8 pairs, threads, float32, LoRA rank 32 on q and v without dropout; they run in turns. pairs/s, medians. Needs
../shared (peer scripts and data) and a Python with transformers, peft and torch in DMOERM_PEER_PYTHON. Ends with one JSON line.
"""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.environ["DMOERM_ROOT"]
SHARED = os.path.join(ROOT, "..", "shared")
sys.path.insert(0, os.path.join(SHARED, "peers"))


def text_of(side):
    return side if isinstance(side, str) else side[-1]["content"]


def write_inputs(model, count, max_length, folder):
    """The first train pairs: as texts for the peer, as token ids with the shared prefix for ours."""
    from peer_common import encode, shared_prefix
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model)
    pairs, groups = os.path.join(folder, "pairs.jsonl"), os.path.join(folder, "groups.jsonl")
    with gzip.open(os.path.join(SHARED, "data", "hh.jsonl.gz"), "rt") as source, open(pairs, "w") as p, open(groups, "w") as g:
        for line in source:
            row = json.loads(line)
            if row["split"] != "train":
                continue
            row.update(chosen=text_of(row["chosen"]), rejected=text_of(row["rejected"]), capability="hh")
            a, b = (encode(tokenizer, row["prompt"], row[k], max_length) for k in ("chosen", "rejected"))
            n = min(shared_prefix(a, b), len(a) - 1, len(b) - 1)
            p.write(json.dumps(row) + "\n")
            g.write(json.dumps({"prefix": a[:n], "responses": [a[n:], b[n:]], "pairs": [[0, 1]]}) + "\n")
            count -= 1
            if count == 0:
                break
    return pairs, groups


def last_json(text):
    return json.loads(text[text.index("{"):])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=os.path.join(os.environ.get("DMOERM_MODELS", ""), "smollm2-135m-instruct"))
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    ours, peer = [], []
    with tempfile.TemporaryDirectory() as folder:
        pairs, groups = write_inputs(a.model, a.pairs, 512, folder)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        for _ in range(a.repeats):
            out = subprocess.run([os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_train_step"), "--model", a.model, "--groups", groups, "--groups-per-step", "8",
                                  "--threads", str(a.threads), "--repeats", "3"], check=True, capture_output=True, text=True)
            ours.append(last_json(out.stdout)["pairs_per_s"])  # the median of three passes: the first also warms up, as the peer does before it counts
            out = subprocess.run([sys.executable, os.path.join(SHARED, "peers", "peer_train.py"), "--model", a.model, "--data", pairs, "--peer", "loop", "--micro-pairs", "2", "--experts", "1",
                                  "--pairs", str(a.pairs), "--threads", str(a.threads)], check=True, capture_output=True, text=True, env=environment)
            summary = last_json(out.stdout)["summary"]
            peer.append(summary["pairs_per_s"])
            print(f"ours {ours[-1]:.3f} pairs/s, peer {peer[-1]:.3f} pairs/s", flush=True)
    o, p = statistics.median(ours), statistics.median(peer)
    print(json.dumps({"name": "train-hh", "unit": "pairs/s", "ours": round(o, 4), "peer": round(p, 4), "ratio": round(o / p, 3),
                      "spread": {"ours": [round(min(ours), 4), round(max(ours), 4)], "peer": [round(min(peer), 4), round(max(peer), 4)]}}))


if __name__ == "__main__":
    main()
