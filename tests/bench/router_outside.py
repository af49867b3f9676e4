"""router-outside: how many prompts of no category the router sends to the single model.

    router_outside.py [--prompts 200] [--depth 0.667] [--kind trained|clusters] [--clusters 16] [--keep-shares 0.9,0.95,0.97,0.99] [--states FILE]
                      [--no-choice] [--threads 2]

The categories are those of ../shared/data (`--categories`): at most `--prompts` train prompts each, in the order of a hash, and all validation and test prompts.
Prompts of no category are those of `router.jsonl.gz` tagged coding, math and procedure, and 200 that `dmoerm synth` makes. `--states` keeps the prompts' states in a
file. Prints two tables by `router.keep_share`: the choice, in which each category in turn plays the prompts of no category and the test prompts have no part (kept: the
other categories' validation prompts), and the test. Ends with one JSON line: for each share `kept`, the share of the categories' test prompts that go to a category, and
`outside`, the share of the others that go to the single model; `wanted` is what is asked of `outside` where `kept` is 0.95.
"""
import argparse
import gzip
import hashlib
import json
import os
import subprocess
import tempfile

from bench_common import DEFAULT_MODEL, SHARED, write_lines

CATEGORIES = "story_writing,summarization,grounded_dialogue,data_to_text,knowledge_qa"
OUTSIDE = ("coding", "math", "procedure")


def synthetic(path):
    program = os.path.join(os.environ["DMOERM_BUILD"], "dmoerm")
    subprocess.run([program, "synth", "--out", path, "--seed", "5", "--groups", "70"], check=True, capture_output=True)
    with open(path, encoding="utf-8") as file:
        prompts = [json.loads(line)["prompt"] for line in file]
    texts = {p if isinstance(p, str) else "\n".join(m["content"] for m in p) for p in prompts}
    return sorted(texts)[:200]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--depth", type=float, default=2 / 3)
    parser.add_argument("--kind", default="trained", choices=("trained", "clusters"))
    parser.add_argument("--clusters", type=int, default=16)
    parser.add_argument("--keep-shares", default="0.8,0.9,0.93,0.95,0.97,0.98,0.99")
    parser.add_argument("--states", default="")
    parser.add_argument("--no-choice", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--categories", default=CATEGORIES)
    args = parser.parse_args()
    categories = args.categories.split(",")
    with gzip.open(os.path.join(SHARED, "data", "router.jsonl.gz"), "rt", encoding="utf-8") as file:
        source = [json.loads(line) for line in file]
    rows, taken = [], {}
    for row in sorted(source, key=lambda row: hashlib.sha256(row["text"].encode()).hexdigest()):
        if row["set"] == "task_categories" and row["category"] in categories:
            key = (row["category"], row["split"])
            taken[key] = taken.get(key, 0) + 1
            if row["split"] != "train" or taken[key] <= args.prompts:
                rows.append({"text": row["text"], "part": row["split"], "category": row["category"], "tag": row["category"]})
        elif row["set"] == "just_eval_tags" and row["category"] in OUTSIDE:
            rows.append({"text": row["text"], "part": "test", "category": "", "tag": row["category"]})
    with tempfile.TemporaryDirectory() as scratch:
        rows += [{"text": text, "part": "test", "category": "", "tag": "synth"} for text in synthetic(os.path.join(scratch, "synth.jsonl"))]
        data = write_lines(os.path.join(scratch, "prompts.jsonl"), rows)
        program = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_router_outside")
        command = [program, "--model", args.model, "--data", data, "--threads", str(args.threads), "--depth", str(args.depth), "--keep-shares", args.keep_shares]
        command += ["--kind", args.kind, "--clusters", str(args.clusters)]
        command += (["--states", args.states] if args.states else []) + ([] if args.no_choice else ["--choose"])
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    if result["choice"]:
        print("choice: each category in turn outside\nkeep_share   kept  sent away  by category outside")
    for share in sorted({c["keep_share"] for c in result["choice"]}):
        own = [c for c in result["choice"] if c["keep_share"] == share]
        mean = lambda key: sum(c[key] for c in own) / len(own)
        print(f"{share:10.3f} {mean('kept'):6.3f} {mean('sent_away'):10.3f}  " + ", ".join(f"{c['outside']} {abs(c['sent_away']):.2f}" for c in own))
    print("test\nkeep_share   kept    outside  by tag")
    curve = []
    for point in result["curve"]:
        kept = {tag: (k["share"] * k["prompts"], k["prompts"]) for tag, k in point["kept"].items()}
        share = lambda tags: sum(kept[t][0] for t in tags) / sum(kept[t][1] for t in tags)
        others = [tag for tag in kept if tag not in categories]
        curve.append([point["keep_share"], round(share(categories), 4), round(1 - share(others), 4)])
        tags = [f"{t} {kept[t][0] / kept[t][1]:.2f}" for t in categories] + [f"{t} {abs(1 - kept[t][0] / kept[t][1]):.2f}" for t in others]
        print(f"{curve[-1][0]:10.3f} {curve[-1][1]:6.3f} {curve[-1][2]:10.3f}  " + ", ".join(tags))
    last = result["curve"][-1]
    print(json.dumps({"name": "router-outside", "kind": args.kind, "unit": "share of prompts", "curve": curve, "wanted": 0.8, "right": round(last["right"], 4),
                      "confidence": round(last["confidence"], 4), "temperature": round(last["temperature"], 4)}))


if __name__ == "__main__":
    main()
