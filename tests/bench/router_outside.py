"""router-outside: how many prompts of no category the router sends to the single model.

    router_outside.py [--prompts 200] [--depth 0.667] [--keep-share 0.95] [--threads 2]

The categories are those of ../shared/data (`--categories`): at most `--prompts` train prompts each, and all validation and test prompts. Prompts of no category are
those of `router.jsonl.gz` tagged coding, math and procedure, and 200 that `dmoerm synth` makes. Ends with one JSON line: `kept` is the share of the categories' test
prompts that go to a category, `outside` the share of the others that go to the single model, `wanted` what is asked of `outside` where `kept` is 0.95.
"""
import argparse
import gzip
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
    parser.add_argument("--keep-share", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--categories", default=CATEGORIES)
    args = parser.parse_args()
    categories = args.categories.split(",")
    with gzip.open(os.path.join(SHARED, "data", "router.jsonl.gz"), "rt", encoding="utf-8") as file:
        source = [json.loads(line) for line in file]
    rows, taken = [], {}
    for row in source:
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
        command = [program, "--model", args.model, "--data", data, "--threads", str(args.threads), "--depth", str(args.depth), "--keep-share", str(args.keep_share)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(json.dumps(result["kept"], indent=1))
    kept = {tag: (k["share"] * k["prompts"], k["prompts"]) for tag, k in result["kept"].items()}
    share = lambda tags: sum(kept[t][0] for t in tags) / sum(kept[t][1] for t in tags)
    others = [tag for tag in kept if tag not in categories]
    print(json.dumps({"name": "router-outside", "unit": "share of prompts", "kept": round(share(categories), 4), "outside": round(1 - share(others), 4), "wanted": 0.8,
                      **{f"outside_{t}": round(1 - kept[t][0] / kept[t][1], 4) for t in others}, "right": round(result["right"], 4),
                      "confidence": round(result["confidence"], 4), "temperature": round(result["temperature"], 4)}))


if __name__ == "__main__":
    main()
