#!/usr/bin/env python3
"""A label store with a million labels: size, time to append, to open, and to read all labels of one point.

    label_store.py [--labels 1000000] [--passes 5] [--directory DIR]

27 points, both orders, short replies, asked pair by pair, appended 256 at a time; files are in the page cache when they are opened and read. Everything is measured
twice: as the labeller leaves it (a segment for every 100,000 labels) and after `label-store compact`. "bytes_a_label" is all files of the store but the compressed replies.
Last line: {"name","unit",...}.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile

import h5py

PROGRAM = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_label_store")


def step(*words):
    return [float(n) for n in subprocess.run([PROGRAM, *map(str, words)], check=True, capture_output=True, text=True).stdout.split()]


def size(store, labels):
    total = replies = raw = 0
    for name in os.listdir(store):
        path = os.path.join(store, name)
        total += os.path.getsize(path)
        if name.endswith(".h5"):
            with h5py.File(path) as file:
                replies += file["reply_bytes"].id.get_storage_size()
                raw += file["reply_bytes"].shape[0]
    return {"bytes_a_label": round((total - replies) / labels, 1), "reply_bytes_a_label": round(replies / labels, 1),
            "raw_reply_bytes_a_label": round(raw / labels, 1)}


def middle(values):
    return round(statistics.median(values), 4)


def measure(store, labels, passes):
    opened = [step("open", store) for _ in range(passes)]
    assert all(o[1] == labels for o in opened), opened
    read = [step("read", store) for _ in range(passes)]
    replies = [step("read-replies", store) for _ in range(passes)]
    assert all(r[1] == labels for r in read + replies)
    rates = [r[1] / r[2] for r in read]
    return {**size(store, labels), "open_s": middle([o[0] for o in opened]), "open_mib": round(max(o[2] for o in opened) / 1024),
            "reader_open_s": middle([r[0] for r in read]), "read_rows_s": round(statistics.median(rates)),
            "read_rows_s_spread": [round(min(rates)), round(max(rates))], "read_with_replies_rows_s": round(statistics.median([r[1] / r[2] for r in replies]))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--directory", help="where the store is made; default: the system's folder for temporary files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as scratch:
        store = os.path.join(scratch, "labels")
        seconds, longest = step("fill", store, args.labels)
        print(f"filled in {seconds:.1f} s: {args.labels / seconds:.0f} labels/s; the longest append, which sealed, took {longest:.2f} s")
        as_left = measure(store, args.labels, args.passes)
        print(f"as left: {json.dumps(as_left)}")
        compact_s = step("compact", store)[0]
        compacted = measure(store, args.labels, args.passes)
        print(f"compacted in {compact_s:.1f} s: {json.dumps(compacted)}")
    print(json.dumps({"name": "label-store", "unit": "labels", "labels": args.labels, "append_rows_s": round(args.labels / seconds), "append_longest_s": round(longest, 3),
                      **as_left, "compacted": compacted}))


if __name__ == "__main__":
    main()
