"""expert-memory: peak memory of training six experts of one category in one process over one base, against the peer loop training one.

HH pairs up to 512 tokens, batches of 8 pairs, SmolLM2 float32. MiB; smaller is better. Needs ../shared and DMOERM_PEER_PYTHON. Ends with one JSON line.
"""
import argparse
import tempfile

from bench_common import DEFAULT_MODEL, run_ours, run_peer, verdict
from train_hh import write_inputs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--micro-batch-tokens", type=int, default=1024, help="of ours; the default is that of compute.micro_batch_tokens")
    a = parser.parse_args()
    ours, peer = [], []
    with tempfile.TemporaryDirectory() as folder:
        pairs, groups = write_inputs(a.model, a.pairs, 512, folder)
        for _ in range(a.repeats):
            ours.append(run_ours(a.model, groups, a.threads, "--groups-per-step", 8, "--repeats", 1, "--experts", 6, "--micro-batch-tokens", a.micro_batch_tokens)["peak_mib"])
            peer.append(run_peer("peer_train.py", a.model, a.threads, "--data", pairs, "--peer", "loop", "--micro-pairs", 2, "--experts", 1, "--pairs", a.pairs)["peak_rss_mib"])
            print(f"ours {ours[-1]} MiB, peer {peer[-1]} MiB", flush=True)
    verdict("expert-memory", "MiB", ours, peer)


if __name__ == "__main__":
    main()
