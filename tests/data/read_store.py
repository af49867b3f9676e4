"""Read a token store with h5py alone and check it: seal, filters, sizes, ranges, content digest. Prints a summary as JSON.

    python tests/data/read_store.py STORE.h5 [REPORT.json]

With the report that `dmoerm ingest` wrote beside the store, the counts of both must agree. Exit code 0: all is well.
"""
import collections
import hashlib
import json
import sys

import h5py
import numpy as np

CHUNK = 65536
SEAL = 512
SPLITS = ["train", "validation", "test"]


def columns_of(file):
    found = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) and item.ndim == 1 else None)
    return found


def chain(data, piece):
    state = ""
    for at in range(0, len(data), piece):
        state = hashlib.sha256(state.encode() + bytes(data[at : at + piece])).hexdigest()
    return state


def digest_of(columns, names):
    text = json.dumps([names["categories"], names["labels"]], separators=(",", ":"), ensure_ascii=False)
    for name in sorted(columns):
        state = chain(columns[name][:].tobytes(), CHUNK * columns[name].dtype.itemsize)
        if name not in ("groups/file", "groups/line"):
            text += f"\n{name} {state}"
    return hashlib.sha256(text.encode()).hexdigest()


def check(good, what):
    if not good:
        sys.exit(f"read_store: {what}")


def main(path, report=None):
    with open(path, "rb") as file:
        check(file.read(SEAL).rstrip(b"\0\n").split()[-1].decode() == chain(file.read(), 1 << 20), "the seal is broken")
    with h5py.File(path) as file:
        about = json.loads(file["attributes"][()])
        provenance = json.loads(file["provenance"][()])
        columns = columns_of(file)
        for name, column in columns.items():
            check(column.chunks == (CHUNK,) and column.fletcher32 and column.shuffle and column.compression == "gzip", f"{name}: filters")
        check(digest_of(columns, about["names"]) == about["digest"], "the content digest differs")
        g = {name.split("/")[1]: column[:] for name, column in columns.items() if name.startswith("groups/")}
        lengths = columns["responses/length"][:]
        tokens = len(columns["tokens"])

    first = np.concatenate([[0], np.cumsum(g["response_count"])])
    check(first[-1] == len(lengths), "responses do not add up")
    check(int(g["prefix_length"].sum()) + int(g["prompt_extra"].sum()) + int(lengths.sum()) == tokens, "tokens do not add up")
    check((lengths > 0).all() and (g["response_count"] >= 2).all() and (g["prompt_shared"] <= g["prefix_length"]).all(), "a length is out of range")

    counts = collections.defaultdict(dict)
    owned = g["prefix_length"] + np.add.reduceat(lengths, first[:-1])
    for c, category in enumerate(about["names"]["categories"]):
        for s, split in enumerate(SPLITS):
            mine = (g["category"] == c) & (g["split"] == s)
            if mine.any():
                counts[category][split] = {"groups": int(mine.sum()), "responses": int(g["response_count"][mine].sum()), "tokens": int(owned[mine].sum())}
    if report:
        with open(report) as summary:
            said = json.load(summary)
        check(said["counts"] == counts and said["digest"] == about["digest"], "the report differs from the store")
    print(json.dumps({"schema": about["schema"], "digest": about["digest"], "counts": counts, "inputs": provenance["inputs"]}, indent=1))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
