"""cost-growth: how tokens a second and memory grow with the work, each beside what `dmoerm plan` expects.

Steps of LoRA experts on made-up ids, one quantity varied at a time: responses of a group, length of the prompt, experts in one pass, rank of the adapters, experts that take turns
over one base; and trainings on one and two ranks of one thread. A point is one JSON line. It ends with a table, three pictures in --images, and one JSON line: the points
at which time or memory is off by more than a quarter.
"""
import argparse
import json
import os
import subprocess
import tempfile

from bench_common import DEFAULT_MODEL, ROOT, run_ours, write_lines
from zero_memory import largest, train

PROGRAM = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_cost_growth")
USUAL = {"prompt": 256, "responses": 4, "response": 64, "experts": 1, "in_pass": 1, "rank": 32}
PASS_TOKENS, STEP_TOKENS, OFF = 2048, 2048, 0.25
SHORT = {"prompt": 64, "responses": 2, "response": 32, "step_tokens": 128}  # one expert alone leaves a pass nearly empty
VARIED = [  # what is varied; each value, and what it changes
    ("responses of a group", [(n, {"responses": n}) for n in (2, 4, 8, 16)]),
    ("tokens of a prompt", [(n, {"prompt": n}) for n in (32, 128, 512, 1536)]),
    ("experts in one pass", [(n, SHORT | {"experts": n, "in_pass": n}) for n in (1, 2, 4, 8)]),
    ("rank of the adapter", [(n, {"rank": n}) for n in (4, 16, 64, 256)]),
    ("experts in turn", [(n, {"experts": n, "step_tokens": 512}) for n in (1, 2, 4, 8)]),
]
TRAININGS = [("ranks, an adapter", 1, ["--adapter"]), ("ranks, an adapter", 2, ["--adapter"]), ("ranks, all weights", 1, []), ("ranks, all weights", 2, []),
             ("ranks, all weights in shards", 2, ["--shard"])]


def predict(**workload):
    """What the formulas of the plan say: (seconds, MiB of a rank)."""
    usual = {"steps": 1, "experts": 1, "rank": 32, "all_weights": False, "shard": False, "read_groups": 0, "ranks": 1, "shape": "smollm2-135m", "responses": 1, "plain_group_tokens": 0}
    done = subprocess.run([PROGRAM, "predict"], input=json.dumps(usual | workload), check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["seconds"], found["mib"]


def steps(a, folder, work):
    """One step of experts by tests/bench/train_step.cpp: tokens, seconds, MiB, and the prediction."""
    size = work["prompt"] + work["responses"] * work["response"]
    groups = max(1, work.get("step_tokens", STEP_TOKENS) // size)
    fits = min(groups, max(1, PASS_TOKENS // size))
    ids = lambda count, first: [1000 + (first * 7919 + i * 31) % 40000 for i in range(count)]  # noqa: E731
    rows = [{"prefix": ids(work["prompt"], g), "responses": [ids(work["response"], 100 * g + r) for r in range(work["responses"])],
             "pairs": [[r, r + 1] for r in range(work["responses"] - 1)]} for g in range(groups)]
    path = write_lines(os.path.join(folder, "groups.jsonl"), rows)
    in_pass = fits * size * work["in_pass"]  # room for the groups of so many experts, and for no other's
    found = run_ours(a.model, path, a.threads, "--groups-per-step", groups, "--repeats", a.repeats, "--micro-batch-tokens", in_pass, "--experts", work["experts"], "--rank", work["rank"])
    expected = predict(groups_per_step=groups, group_tokens=size, responses=work["responses"], plain_group_tokens=work["responses"] * (work["prompt"] + work["response"]), experts=work["experts"], rank=work["rank"], micro_batch_tokens=in_pass, threads=a.threads)
    return found["packed_tokens"], found["packed_tokens"] / found["packed_tokens_per_s"], found["training_mib"], expected


def trained(model, ranks, options):
    """A short training by tests/bench/zero_memory.cpp, whose validation reads two groups before, between and after its two steps; and the prediction."""
    groups, count, micro = 32, 2, 512
    found, _ = train(model, ranks, "--steps", count, "--groups-per-step", groups, "--micro-batch-tokens", micro, *options)
    expected = predict(steps=count, groups_per_step=groups, group_tokens=found["tokens"] / (count * groups), read_groups=2 * (count + 1), micro_batch_tokens=micro, ranks=ranks, threads=1,
                       all_weights="--adapter" not in options, shard="--shard" in options)
    return found["tokens"], found["seconds"], largest(found, "peak_mib"), expected


def point(name, value, tokens, seconds, mib, expected):
    row = {"varied": name, "value": value, "tokens": tokens, "tokens_per_s": round(tokens / seconds, 1), "predicted_tokens_per_s": round(tokens / expected[0], 1), "mib": round(mib),
           "predicted_mib": round(expected[1])}
    print(json.dumps(row), flush=True)
    return row


def draw(path, title, rows, key, names):
    """A picture with a panel for each of the names."""
    panels = []
    for name in names:
        own = [row for row in rows if row["varied"] == name]
        panels.append({"title": name, "axis": "", "ticks": [str(row["value"]) for row in own], "measured": [row[key] for row in own], "predicted": [row["predicted_" + key] for row in own]})
    subprocess.run([PROGRAM, "draw", path], input=json.dumps({"title": title, "panels": panels}), check=True, text=True)


def show(rows):
    print("\n| varied | | tokens/s | planned | MiB | planned |\n|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['varied']} | {row['value']} | {row['tokens_per_s']:.0f} | {row['predicted_tokens_per_s']:.0f} | {row['mib']:,} | {row['predicted_mib']:,} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="SmolLM2-135M, whose shape the prediction has")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of a step; the median counts")
    parser.add_argument("--images", default=os.path.join(ROOT, "docs", "images"), help="folder for the pictures")
    a = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, values in VARIED:
            rows += [point(name, value, *steps(a, folder, USUAL | change)) for value, change in values]
    rows += [point(name, ranks, *trained(a.model, ranks, options)) for name, ranks, options in TRAININGS]
    show(rows)
    drawn, over_ranks = [name for name, _ in VARIED], [name for name, ranks, _ in TRAININGS if ranks == 1]
    draw(os.path.join(a.images, "cost_growth_speed.svg"), "Tokens a second of training SmolLM2-135M", rows, "tokens_per_s", drawn[:4])
    draw(os.path.join(a.images, "cost_growth_ranks.svg"), "Tokens a second of training SmolLM2-135M", rows, "tokens_per_s", drawn[4:] + over_ranks)
    draw(os.path.join(a.images, "cost_growth_memory.svg"), "Memory of training SmolLM2-135M, MiB", rows, "mib", drawn[1:])
    off = lambda row, key: row["predicted_" + key] / row[key] - 1  # noqa: E731
    bad = [f"{row['varied']} {row['value']}: {key} {off(row, key):+.0%}" for row in rows for key in ("tokens_per_s", "mib") if abs(off(row, key)) > OFF]
    print(json.dumps({"name": "cost-growth", "unit": "predicted / measured - 1", "points": len(rows), "tokens_per_s": [round(min(off(r, "tokens_per_s") for r in rows), 3),
                      round(max(off(r, "tokens_per_s") for r in rows), 3)], "mib": [round(min(off(r, "mib") for r in rows), 3), round(max(off(r, "mib") for r in rows), 3)], "off": bad}))


if __name__ == "__main__":
    main()
