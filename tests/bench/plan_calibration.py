#!/usr/bin/env python3
"""Predicted against measured makespan of a small real run on 1, 2 and 4 ranks of one thread.

    plan_calibration.py [--config configs/quickstart.yaml] [--set KEY=VALUE ...] [--ranks 1 2 4] [--directory DIR]

The run is done on each number of ranks; `dmoerm plan --run` then predicts all of them from the timeline of the run on one rank ("from one rank"), and each from its own ("from its own").
Without --set the quick start is cut down to minutes: three layers, 60 groups a category, one pass, no baselines; and it has all twelve points of its categories: twelve experts. "above_bound" is the makespan over
max(rank-seconds spent in tasks / ranks, longest chain), both from the run's own timeline. Last line: {"name","rows",...}; a ratio of 1 is a perfect prediction.
"""
import argparse
import json
import os
import subprocess
import tempfile

ROOT = os.environ["DMOERM_ROOT"]
TWELVE = ("categories=[{name: customer_support, points: [empathy, next_step, professional, plain_talk]}, {name: story_opening, points: [imagery, mystery, voice, gentleness]}, "
          "{name: howto_answer, points: [order, directness, self_contained, certainty]}]")
CUT = [TWELVE, "backbone.layers=3", "data.groups_per_category_max=60", "data.max_length=128", "base.epochs_max=1", "experts.train.epochs_max=1", "baselines=false", "aggregator.steps_max=200", "router.steps_max=100"]


def dmoerm(*words, ranks=1, quiet=True):
    command = [f"{ROOT}/launch/dmoerm", *(["--np", str(ranks)] if ranks > 1 else []), *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


def measured(run):
    """Seconds from the first task's start to the run's end, as the coordinator wrote them down."""
    with open(os.path.join(run, "timeline.jsonl"), encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    return next(e["at"] for e in reversed(events) if e["event"] == "finish") - next(e["at"] for e in events if e["event"] == "run")


def above_bound(run, ranks):
    """The run's makespan over max(rank-seconds in tasks / ranks, longest chain of tasks as long as they took)."""
    started, took, work, inputs = {}, {}, 0.0, {}
    with open(os.path.join(run, "timeline.jsonl"), encoding="utf-8") as lines:
        for event in map(json.loads, lines):
            if event["event"] == "run":
                inputs = {task["id"]: task["inputs"] for task in event["tasks"]}
            elif event["event"] == "start":
                started[event["task"]] = event
            elif event["event"] == "end":
                begin = started.pop(event["task"])
                took[event["task"]] = took.get(event["task"], 0.0) + event["at"] - begin["at"]
                work += (event["at"] - begin["at"]) * len(begin["ranks"])
    chain = {}
    for task in inputs:  # inputs come before what reads them
        chain[task] = took.get(task, 0.0) + max((chain[i] for i in inputs[task]), default=0.0)
    return measured(run) / max(work / ranks, *chain.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=f"{ROOT}/configs/quickstart.yaml")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--data", help="preference data; default: `dmoerm synth`'s")
    parser.add_argument("--directory", help="where the runs are made; default: a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = args.directory or temporary
        data = args.data or os.path.join(directory, "data")
        os.environ["DMOERM_DATA"] = data
        if not os.path.exists(os.path.join(data, "synth.jsonl")):
            dmoerm("synth", "--out", os.path.join(data, "synth.jsonl"))
        settings = [word for setting in (args.set or CUT) + [f"runs_dir={directory}"] for word in ("--set", setting)]
        rows = []
        for ranks in args.ranks:
            run = os.path.join(directory, f"ranks{ranks}")
            dmoerm("run", "--config", args.config, *settings, "--set", f"name=ranks{ranks}", ranks=ranks)
            row = {"ranks": ranks, "measured_s": round(measured(run), 2), "above_bound": round(above_bound(run, ranks), 3)}
            for name, source in (("from_one_rank", os.path.join(directory, f"ranks{args.ranks[0]}")), ("from_its_own", run)):
                out = os.path.join(directory, "plan.json")
                dmoerm("plan", "--config", args.config, *settings, "--set", f"name=ranks{ranks}", "--run", source, "--ranks", ranks, "--device", "cpu", "--lines", 0, "--json", out)
                with open(out, encoding="utf-8") as file:
                    row[name] = round(json.load(file)["makespan_s"] / row["measured_s"], 3)
            rows.append(row)
            print(f"{ranks} ranks: measured {row['measured_s']:.1f} s; predicted from one rank {row['from_one_rank']:.2f} times that, from its own run {row['from_its_own']:.2f} times; "
                  f"{row['above_bound']:.3f} times the lower bound of the work as it took", flush=True)
        print(json.dumps({"name": "plan-calibration", "unit": "predicted / measured makespan", "rows": rows}))


if __name__ == "__main__":
    main()
