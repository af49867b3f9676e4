"""Compares TensorBoard event files, read by the `tensorboard` package, with the metrics.jsonl beside them. Usage: read_tensorboard.py FOLDER ...

Exits 77 where the package is absent, 1 on the first difference."""
import collections
import glob
import json
import os
import struct
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("tensorboard is not installed (launch/setup.sh --with tests): skipped")
    sys.exit(77)


def wanted_scalars(lines):
    scalars = collections.defaultdict(list)
    for line in lines:
        for key, value in line.items():
            if key not in ("step", "seconds") and isinstance(value, (int, float)) and not isinstance(value, bool):
                scalars[key].append((line["step"], struct.unpack("f", struct.pack("f", value))[0]))
    return dict(scalars)


def found_scalars(folder):
    accumulator = EventAccumulator(folder, size_guidance={"scalars": 0})
    accumulator.Reload()
    found, walls = {}, []
    for tag in accumulator.Tags()["scalars"]:
        found[tag] = [(event.step, event.value) for event in accumulator.Scalars(tag)]
        walls.append([event.wall_time for event in accumulator.Scalars(tag)])
    return found, walls


def check(folder):
    """Every task of a folder's metrics.jsonl: beside it if it is the only one, else in a folder of its last name."""
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    tasks = collections.defaultdict(list)
    for line in lines:
        tasks[line.get("task", "")].append(line)
    checked = 0
    for task, own in tasks.items():
        where = folder if len(tasks) == 1 else os.path.join(folder, task.split("/")[-1])
        if len(glob.glob(os.path.join(where, "events.out.tfevents.*"))) != 1:
            sys.exit(f"{where}: not one event file: {os.listdir(where)}")
        found, walls = found_scalars(where)
        if found != wanted_scalars(own):
            sys.exit(f"{where}: tensorboard reads {found}, metrics.jsonl says {wanted_scalars(own)}")
        if any(a > b for wall in walls for a, b in zip(wall, wall[1:])):
            sys.exit(f"{where}: wall times go back")
        checked += sum(len(v) for v in found.values())
    return checked


def main():
    checked = [check(folder) for folder in sys.argv[1:]]
    if not checked or not all(checked):
        sys.exit(f"no scalars: {checked}")
    print(f"{sum(checked)} scalars in {len(checked)} folders are those of metrics.jsonl")


if __name__ == "__main__":
    main()
