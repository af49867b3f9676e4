"""train-groups: one LoRA expert on groups of responses to one prompt (summarization), ours against what pairwise trainers do (both texts of every labelled
pair in full) and against a careful user's loop (each response once).

Same groups, labelled pairs, loss, optimiser steps and threads; they run in turns. Labelled pairs/s, medians. The pairs mode runs 3 pairs of each group: all
its pairs are about as long. Needs ../shared and DMOERM_PEER_PYTHON. Ends with one JSON line; `ratio` is against the pairs mode, `listwise_ratio` against the
loop.
"""
import argparse
import os
import statistics
import tempfile

from bench_common import DEFAULT_MODEL, SHARED, run_ours, run_peer, shared_layout, verdict, write_lines

DATA = os.path.join(SHARED, "data", "capability.jsonl.gz")


def load(model, category, count, max_length):
    """The groups as peer_groups.py draws them."""
    import peer_groups
    from transformers import AutoTokenizer
    capability = peer_groups.FIRST_CAPABILITY[category]
    margin = peer_groups.clear_margin(os.path.join(SHARED, "data", "capabilities.json"), category, capability)
    wanted = argparse.Namespace(data=DATA, category=category, capability=capability, margin=margin, split="train", groups=count, max_length=max_length, score_only=False)
    return peer_groups.load_groups(wanted, AutoTokenizer.from_pretrained(model))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--category", default="summarization")
    parser.add_argument("--groups", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    groups = load(a.model, a.category, a.groups, 1024)
    ours, pairs, listwise, memory = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = write_lines(os.path.join(folder, "groups.jsonl"), [shared_layout(g.seqs, g.pairs) for g in groups])
        largest = max(sum(map(len, g.seqs)) for g in groups)  # a group is one pass, as in the loop that reads each response once
        peer = ["--data", DATA, "--category", a.category, "--groups", a.groups, "--repeats", 1]
        for _ in range(a.repeats):
            own = run_ours(a.model, path, a.threads, "--groups-per-step", 1, "--repeats", 2, "--micro-batch-tokens", largest)
            ours.append(own["pairs_per_s"])
            memory.append(own["peak_mib"])
            listwise.append(run_peer("peer_groups.py", a.model, a.threads, *peer, "--mode", "listwise")["summary"]["pairs_per_s"]["median"])
            pairs.append(run_peer("peer_groups.py", a.model, a.threads, *peer, "--mode", "pairs", "--pairs-per-group", 3)["summary"]["pairs_per_s"]["median"])
            print(f"ours {ours[-1]:.3f} pairs/s, pairs mode {pairs[-1]:.3f}, listwise {listwise[-1]:.3f}", flush=True)
    verdict("train-groups", "labelled pairs/s", ours, pairs, listwise=statistics.median(listwise), listwise_ratio=round(statistics.median(ours) / statistics.median(listwise), 3),
            listwise_spread=[min(listwise), max(listwise)], category=a.category, peak_mib=max(memory))


if __name__ == "__main__":
    main()
