"""train-tokens: real tokens a second of training one LoRA expert where no prompt can be shared: every sequence runs in full, in ours as in the best peer loop.

The peer's own synthetic pairs (lognormal lengths), batches of 8 pairs, same threads; they run in turns. Medians. Needs ../shared and DMOERM_PEER_PYTHON. Ends
with one JSON line; `share_of_peak` is ours against fused multiply-adds in registers on the same threads, measured in each turn.
"""
import argparse
import os
import statistics
import tempfile

from bench_common import DEFAULT_MODEL, machine_peaks, run_ours, run_peer, verdict, write_lines


def write_inputs(model, count, path):
    from peer_common import encode, synthetic_pairs
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = []
    for pair in synthetic_pairs(count, 1, 0):
        rows.append({"prefix": [], "responses": [encode(tokenizer, pair["prompt"], pair[k], 512) for k in ("chosen", "rejected")], "pairs": [[0, 1]]})
    return write_lines(path, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    ours, peer, shares = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        groups = write_inputs(a.model, a.pairs, os.path.join(folder, "groups.jsonl"))
        for _ in range(a.repeats):
            own = run_ours(a.model, groups, a.threads, "--groups-per-step", 8, "--repeats", 3)
            ours.append(own["packed_tokens_per_s"])
            shares.append(own["gflops"] / machine_peaks("--quick", "--threads", a.threads)["on"][str(a.threads)]["fma"])
            peer.append(run_peer("peer_train.py", a.model, a.threads, "--peer", "loop", "--micro-pairs", 2, "--experts", 1, "--pairs", a.pairs)["summary"]["real_tokens_per_s"])
            print(f"ours {ours[-1]:.1f} tokens/s, peer {peer[-1]:.1f} tokens/s", flush=True)
    verdict("train-tokens", "real tokens/s", ours, peer, share_of_peak=round(statistics.median(shares), 3))


if __name__ == "__main__":
    main()
