"""Read a sealed label segment with h5py alone and check it: seal, filters, sizes, order, row checksums. Prints a summary.

    python tests/label_store/read_segment.py SEGMENT.h5
"""
import hashlib
import json
import struct
import sys

import h5py
import numpy as np

SEAL = 512
NUMBERS = ["swapped", "sample", "verdict", "first_probability", "prompt_tokens", "completion_tokens", "cost_micros", "time_ms", "sequence"]


def check(good, what):
    if not good:
        sys.exit(f"read_segment: {what}")


def chain(data, piece=1 << 20):
    state = ""
    for at in range(0, len(data), piece):
        state = hashlib.sha256(state.encode() + data[at : at + piece]).hexdigest()
    return state


def main(path):
    with open(path, "rb") as file:
        title = file.read(SEAL)
        check(title.startswith(b"dmoerm label segment, HDF5 after 512 bytes, seal "), "no label segment")
        check(title.rstrip(b"\0\n").split()[-1].decode() == chain(file.read()), "the seal is broken")
    with h5py.File(path) as file:
        about = json.loads(file["attributes"][()])
        columns = {name: item[:] for name, item in file.items() if name != "attributes"}
        for name, item in file.items():
            check(name == "attributes" or (item.fletcher32 and item.compression == "gzip"), f"{name}: filters")
    rows = about["rows"]
    replies = columns.pop("reply_bytes").tobytes()
    check(all(len(c) == rows for c in columns.values()), "columns of different lengths")
    names = about["names"]
    words = {c: [names[i] for i in columns[c]] for c in ("category", "point", "judge", "template_name")}
    ends = np.cumsum(columns["reply_length"])
    check(int(ends[-1]) == len(replies), "replies do not add up")
    order = list(zip(words["category"], words["point"], words["judge"], words["template_name"], map(bytes, columns["pair"])))
    check(order == sorted(order), "rows are not in order")
    for i in range(rows):
        reply = replies[int(ends[i]) - int(columns["reply_length"][i]) : int(ends[i])]
        row = bytes(columns["key"][i]) + bytes(columns["pair"][i])
        for text in [words[c][i].encode() for c in ("category", "point", "judge", "template_name")] + [reply]:
            row += struct.pack("<q", len(text)) + text
        for name in NUMBERS:
            value = columns[name][i]
            row += struct.pack("<q", int(value.view(np.uint32)) if name == "first_probability" else int(value))
        check(int.from_bytes(hashlib.sha256(row).digest()[:8], "big") == int(columns["check"][i]), f"row {i}: checksum")
    for category, point, judge, template, first, count, spent in about["runs"]:
        part = slice(first, first + count)
        check(set(words["point"][part]) == {names[point]} and spent[3] == int(columns["cost_micros"][part].sum()), "a run is wrong")
    print(f"{rows} labels, {len(about['runs'])} runs, {int(columns['cost_micros'].sum())} micros")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
