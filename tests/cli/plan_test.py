#!/usr/bin/env python3
"""`dmoerm plan` works without data and cluster: its text, drawing and JSON agree, and it refuses what it cannot plan. Usage: plan_test.py PROGRAM"""
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = sys.argv[1]
with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
    HAS_FMA = {"avx2", "fma"} <= set(cpuinfo.read().split())


def plan(*words, config="qwen2.5-1.5b", shape="qwen2.5-1.5b", sizes=True):
    stated = ["--groups-per-category", "2000", "--tokens-per-group", "800"] if sizes else []
    command = [PROGRAM, "plan", "--config", f"{ROOT}/configs/gpu/{config}.yaml", "--shape", shape, *stated, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def refused(part, *words, **how):
    done = plan(*words, **how)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert part in done.stderr, (part, done.stderr)


def without_disk(text):
    """The plan without the line of the disk, which names the room that is free at the moment."""
    return [line for line in text.splitlines() if not line.startswith("disk ")]


def check_plan(directory):
    svg, out = os.path.join(directory, "plan.svg"), os.path.join(directory, "plan.json")
    done = plan("--nodes", 2, "--gpus-per-node", 4, "--node-mtbf-hours", 0.1, "--svg", svg, "--json", out)
    assert done.returncode == 0, done.stderr
    for part in ("makespan", "limited by", "experts.per_task", "expert/roleplay/empathy_ability", "USD", "costs are modelled", "a node fails every"):
        assert part in done.stdout, (part, done.stdout)
    with open(out, encoding="utf-8") as file:
        result = json.load(file)
    assert result["ranks"] == 8 and result["makespan_s"] >= result["bound_s"] > 0
    ended = {s["task"]: s["end"] for s in result["stays"] if s["ending"] == "done"}
    assert set(ended) == {t["id"] for t in result["tasks"]} and len(ended) == 27 + 5 * 5 + 4, len(ended)
    for task in result["tasks"]:
        for stay in result["stays"]:
            if stay["task"] == task["id"]:
                assert all(stay["start"] >= ended[i] - 1e-6 for i in task["inputs"]), stay
    assert len(result["failures_s"]) > 0 and abs(max(ended.values()) - result["makespan_s"]) < 1e-6
    bars = [e for e in xml.etree.ElementTree.parse(svg).iter() if e.tag.endswith("title")]
    assert len(bars) >= len(result["stays"])
    again, other = (plan("--nodes", 2, "--gpus-per-node", 4, "--node-mtbf-hours", 0.1, "--seed", seed).stdout for seed in (17, 2))  # 17 is the default
    assert without_disk(again) == without_disk(done.stdout), "the same seed, another plan"
    assert without_disk(other) != without_disk(done.stdout)


def check_device():
    """The plan says which device it prices, which settings say so, and where its speed comes from."""
    for words, parts in (
        ([], ("priced device h100: compute.device: cuda, and slurm.gpus_per_node: 8", "the peak is the maker's figure")),
        (["--set", "compute.device=auto"], ("priced device h100: compute.device: auto, and slurm.gpus_per_node: 8",)),
        (["--set", "compute.device=cpu"], ("priced device cpu: compute.device: cpu", "x cpu, makespan", "measured just now" if HAS_FMA else "the peak is assumed")),
        (["--set", "compute.device=cpu", "--gpus-per-node", 8], ("priced device h100", "compute.device: cpu a run computes on the CPU")),
        (["--set", "compute.peak_tflops=500"], ("peak 500 TFLOP/s", "the peak is that of compute.peak_tflops")),
        (["--device", "a100", "--set", "compute.peak_tflops=500"], ("priced device a100: --device; without it h100", "peak 312 TFLOP/s")),
        (["--device", "cpu", "--set", "compute.peak_tflops=5", "--reached", 0.5], ("peak 5 TFLOP/s", "is that of --reached")),
    ):
        done = plan("--lines", 0, *words)
        assert done.returncode == 0, (words, done.stderr)
        for part in parts:
            assert part in done.stdout, (words, part, done.stdout)


def check_measured(directory):
    """A run that has been measured is named, with the command's own option."""
    os.makedirs(os.path.join(directory, "qwen2.5-1.5b"))
    stated = ("--lines", 0, "--set", f"runs_dir={directory}")
    assert "--run DIR takes them" in plan(*stated).stdout
    timeline = os.path.join(directory, "qwen2.5-1.5b", "timeline.jsonl")
    with open(timeline, "w", encoding="utf-8"):
        pass
    assert f"--run {os.path.dirname(timeline)} takes them" in plan(*stated).stdout


def main():
    with tempfile.TemporaryDirectory() as directory:
        check_plan(directory)
        check_measured(directory)
    check_device()
    refused("needs", "--nodes", 1, "--gpus-per-node", 2, config="llama3-8b", shape="llama3-8b")
    refused("base/roleplay", "--nodes", 1, "--gpus-per-node", 2, config="llama3-8b", shape="llama3-8b")
    refused("--device abacus: not known; known are h100", "--device", "abacus")
    refused("--shape gpt: not known", shape="gpt")
    refused("--groups-per-category", "--nodes", 1, sizes=False)
    refused("--ranks (of one node), or --nodes", "--ranks", 4, "--nodes", 2)
    print("plan: all checks passed")


if __name__ == "__main__":
    main()
