"""train-hh: training steps of one LoRA expert on real preference pairs (HH), ours against the best peer loop (transformers + PEFT).

Both get the same pairs, token ids, batch of 8 pairs, threads, float32, LoRA rank 32 on q and v without dropout; they run in turns. pairs/s, medians. Needs
../shared (peer scripts and data) and a Python with transformers, peft and torch in DMOERM_PEER_PYTHON. Ends with one JSON line.
"""
import argparse
import gzip
import json
import os
import tempfile

from bench_common import DEFAULT_MODEL, SHARED, run_ours, run_peer, shared_layout, verdict, write_lines


def text_of(side):
    return side if isinstance(side, str) else side[-1]["content"]


def write_inputs(model, count, max_length, folder):
    """The first train pairs: as texts for the peer, as token ids with the shared prefix for ours."""
    from peer_common import encode
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model)
    pairs, groups = [], []
    with gzip.open(os.path.join(SHARED, "data", "hh.jsonl.gz"), "rt") as source:
        for line in source:
            row = json.loads(line)
            if row["split"] != "train" or len(pairs) == count:
                continue
            row.update(chosen=text_of(row["chosen"]), rejected=text_of(row["rejected"]), capability="hh")
            pairs.append(row)
            groups.append(shared_layout([encode(tokenizer, row["prompt"], row[k], max_length) for k in ("chosen", "rejected")], [(0, 1)]))
    return write_lines(os.path.join(folder, "pairs.jsonl"), pairs), write_lines(os.path.join(folder, "groups.jsonl"), groups)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    ours, peer = [], []
    with tempfile.TemporaryDirectory() as folder:
        pairs, groups = write_inputs(a.model, a.pairs, 512, folder)
        for _ in range(a.repeats):
            # The median of three passes: the first also warms up, as the peer does before it counts.
            ours.append(run_ours(a.model, groups, a.threads, "--groups-per-step", 8, "--repeats", 3)["pairs_per_s"])
            peer.append(run_peer("peer_train.py", a.model, a.threads, "--data", pairs, "--peer", "loop", "--micro-pairs", 2, "--experts", 1, "--pairs", a.pairs)["summary"]["pairs_per_s"])
            print(f"ours {ours[-1]:.3f} pairs/s, peer {peer[-1]:.3f} pairs/s", flush=True)
    verdict("train-hh", "pairs/s", ours, peer)


if __name__ == "__main__":
    main()
