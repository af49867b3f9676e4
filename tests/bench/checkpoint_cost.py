"""checkpoint-cost: what a checkpoint a minute costs in step time, for an adapter and for all weights of SmolLM2-135M.

Trainings of the same steps with a checkpoint every few seconds and without any alternate (the first pair is thrown away). A checkpoint's cost is the difference of their times over the
number of checkpoints: what copying, writing in the background and fsync take from the training. As a share of a minute it is what one checkpoint a minute costs. Ends with one JSON line: the
larger of the two shares, in per cent.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile

from bench_common import DEFAULT_MODEL, last_json


def train(program, model, every_s, steps, adapter):
    """Seconds of a training and what its checkpoints were: (count, MiB of one, seconds of writing one)."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("DMOERM_BENCH_DIR")) as folder:
        command = [program, "--model", model, "--folder", folder, "--steps", str(steps), "--checkpoint-every-s", str(every_s), "--micro-batch-tokens", "1024"] + ["--adapter"] * adapter
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    written = re.findall(r"is written, ([0-9.]+) MiB in ([0-9.]+) s", done.stderr)
    return last_json(done.stdout)["seconds"], [(float(mib), float(s)) for mib, s in written]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--pairs", type=int, default=2)
    args = parser.parse_args()
    program = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_zero_memory")
    line = {"name": "checkpoint-cost", "unit": "% of step time at one checkpoint a minute"}
    for name, adapter, steps, every_s in (("adapter", True, 8, 2), ("all_weights", False, 8, 10)):
        costs = []
        for pair in range(args.pairs + 1):
            without, _ = train(program, args.model, 1e9, steps, adapter)
            within, written = train(program, args.model, every_s, steps, adapter)
            if pair > 0:
                costs.append((within - without) / len(written))
            print(name, f"{without:.1f} s without, {within:.1f} s with {len(written)} checkpoints of {written[0][0]:.0f} MiB, {statistics.median(s for _, s in written):.2f} s each", flush=True)
        cost = statistics.median(costs)
        line[name] = {"s_per_checkpoint": round(cost, 3), "spread": [round(min(costs), 3), round(max(costs), 3)], "mib": written[0][0], "percent": round(100 * cost / 60, 2)}
    line["ours"] = max(line["adapter"]["percent"], line["all_weights"]["percent"])
    print(json.dumps(line))


if __name__ == "__main__":
    main()
