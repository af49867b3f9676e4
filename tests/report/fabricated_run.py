"""A run directory of any size without any training: every file that a report reads, with made-up numbers."""
import json
import os
import random

MODELS = {"single": 0.58, "category": 0.66, "base": 0.65, "mean": 0.70, "dmoerm": 0.74, "oracle_route": 0.74}


def put(root, path, value):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(value if isinstance(value, str) else json.dumps(value))


def training(root, task, steps, rng):
    lines = []
    for step in range(0, steps + 1, 10):
        share = step / max(1, steps)
        lines.append({"task": task, "step": step, "lr": 0.003, "seconds": step * 0.7, "train_loss": None if step == 0 else 0.69 - 0.2 * share + rng.gauss(0, 0.01),
                      "gradient_norm": None if step == 0 else 0.5 + rng.random(), "validation_loss": 0.69 - 0.15 * share + rng.gauss(0, 0.01),
                      "validation_accuracy": min(1, 0.5 + 0.25 * share + rng.gauss(0, 0.01))})
    put(root, f"{task}/metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    put(root, f"{task}/manifest.json", {"schema": 2, "task": task, "key": "k" * 64, "settings": {}, "inputs": {}, "outputs": {}, "metrics": {"steps": steps}})


def evaluation(root, category, categories, points, groups, responses, rng, models):
    order = [[i, j] for i in range(responses) for j in range(i + 1, responses)]
    results = {"category": category, "ids": [], "pairs": [], "prompts": [], "right": {m: [] for m in models}, "routes": [],
               "points": {p: {"pairs": [], "right": [], "prompts": []} for p in points}}
    scores = {"schema": 1, "category": category, "points": points, "groups": []}
    for g in range(groups):
        truth = sorted((rng.gauss(0, 1) for _ in range(responses)), reverse=True)
        lengths = [max(1, int(60 + 25 * rng.gauss(0, 1) + 4 * t)) for t in truth]
        own = {}
        for model, skill in models.items():
            own[model] = [t + rng.gauss(0, 2.2 * (1 - skill)) * 2 for t in truth]
        for p in points:
            own[f"point/{p}"] = [0.7 * t + rng.gauss(0, 1) for t in truth]
        for model in models:
            results["right"][model].append(sum(own[model][a] > own[model][b] for a, b in order))
        for p in points:
            for key, value in (("pairs", len(order)), ("prompts", g), ("right", sum(own[f"point/{p}"][a] > own[f"point/{p}"][b] for a, b in order))):
                results["points"][p][key].append(value)
        results["ids"].append(f"{category}-{g:05}")
        results["pairs"].append(len(order))
        results["prompts"].append(g)
        likeliest = category if rng.random() < 0.95 else rng.choice(categories)
        results["routes"].append({"category": "" if rng.random() < 0.03 else likeliest, "likeliest": likeliest, "confidence": 0.9, "distance": 0.8})
        scores["groups"].append({"id": f"{category}-{g:05}", "prompt": g, "lengths": lengths, "scores": {k: v for k, v in own.items() if k != "oracle_route"},
                                 "pairs": {"overall": order, **{f"point/{p}": order for p in points}}})
    put(root, f"eval/{category}/results.json", results)
    put(root, f"eval/{category}/scores.json", scores)
    put(root, f"eval/{category}/manifest.json", {"schema": 2, "task": f"eval/{category}", "key": "e" * 64, "settings": {}, "inputs": {}, "outputs": {}, "metrics": {}})


def timeline(root, tasks, ranks):
    now, free = 1_795_900_000.0, [0.0] * ranks
    events = [{"at": now, "event": "run", "name": os.path.basename(root), "ranks": [{"rank": r, "host": f"node-{r // 4}"} for r in range(ranks)],
               "tasks": [{"id": t, "cost": 1.0, "inputs": [], "done": t == "ingest", "elsewhere": t == "ingest"} for t in tasks]}]
    for i, task in enumerate(t for t in tasks if t != "ingest"):
        rank = min(range(ranks), key=free.__getitem__)
        events.append({"at": now + free[rank], "event": "start", "task": task, "ranks": [rank]})
        free[rank] += 40 + 13 * (i % 5)
        events.append({"at": now + free[rank], "event": "end", "task": task, "outcome": "done", "message": ""})
    events.append({"at": now + max(free), "event": "finish", "code": 0})
    events.sort(key=lambda e: e["at"])
    put(root, "timeline.jsonl", "".join(json.dumps(e) + "\n" for e in events))


def fabricate(root, categories=9, points=3, groups=200, responses=4, steps=300, ranks=8, seed=1, judged=True, pooled=False):
    """Make the directory. The number of experts is categories * points."""
    rng = random.Random(seed)
    names = [f"category_{chr(97 + c)}" for c in range(categories)]
    own_points = {c: [f"point_{c[-1]}{p + 1}" for p in range(points)] for c in names}
    tasks = ["ingest", "router", "single"]
    put(root, "config.yaml", f"name: {os.path.basename(root)}\nseed: {seed}\nbase:\n  lr: 0.003\n" + "".join(f"# {c}\n" for c in names))
    put(root, "external.json", {"ingest": {"categories": [{"name": c, "points": own_points[c]} for c in names],
                                           "data": {"inputs": [{"path": "data.jsonl", "sha256": "ab" * 32}]}}})
    put(root, "computed_on.json", {"backbone": "cd" * 32, "device": "cpu"})
    split = {"train": {"groups": 700, "responses": 2800, "tokens": 150000}, "validation": {"groups": 100, "responses": 400, "tokens": 21000},
             "test": {"groups": groups, "responses": groups * responses, "tokens": 40000}}
    put(root, "ingest/store.h5.report.json", {
        "counts": {c: split for c in names}, "cut": {names[0]: {"prompts": 3}}, "digest": "ef" * 32, "dropped": {"the response is empty": 12}, "noted": {},
        "inputs": [{"path": "data.jsonl", "form": "native", "groups": 9000, "labels": {}}],
        "pairs": {c: {label: {"train": 2000, "validation": 300, "test": 600} for label in ["overall", *own_points[c]]} for c in names}, "verdicts": {}})
    for c in names:
        training(root, f"base/{c}", steps, rng)
        training(root, f"category/{c}", steps, rng)
        tasks += [f"base/{c}", f"category/{c}"]
        for p in own_points[c]:
            training(root, f"expert/{c}/{p}/{p}", steps, rng)
            os.rename(os.path.join(root, f"expert/{c}/{p}/{p}/manifest.json"), os.path.join(root, f"expert/{c}/{p}/manifest.json"))
            tasks.append(f"expert/{c}/{p}")
        tasks += [f"features/{c}", f"aggregator/{c}", f"eval/{c}"]
        evaluation(root, c, names, own_points[c], groups, responses, rng, {**MODELS, "pooled": 0.69} if pooled else MODELS)
    training(root, "single", steps, rng)
    tasks += ["report", "bundle"]
    put(root, "report/report.json", {"router": {"calibration_error": 0.014, "temperature": 3.6, "confusion": {}}, "difference": {}, "accuracy": {}})
    put(root, "report/cost.json", {f"base {c}": {"steps": steps, "steps_max": steps, "tokens": 58341, "seconds": 43.2, "peak_mib": 902.5} for c in names})
    if judged:
        counts = {"outcomes": {"first": 410, "second": 380, "tie": 20, "inconsistent": 160, "unparsable": 4, "refused": 0, "error": 1},
                  "agreement": {"point": {"right": 0, "total": 0}, "overall": {"right": 500, "total": 790}}}
        put(root, "label/report.json", {
            "points": [{"category": c, "point": p, "cut": 0, "not_asked": 0, "skipped": 0, "vote": counts,
                        "judges": [{**counts, "judge": "small-judge", "template": "pairwise-en"}]} for c in names for p in own_points[c]],
            "spent": {"requests": 52000, "prompt_tokens": 36000000, "completion_tokens": 2600000, "cost": 6.96, "currency": "USD"}})
    put(root, "bundle/dmoerm.json", {"files": {f"experts/{c}/{p}/adapter_model.safetensors": "12" * 32 for c in names for p in own_points[c]},
                                     "provenance": {"seed": seed}, "template": {"name": "dmoerm", "sha256": "34" * 32}})
    put(root, "bundle/base/config.json", {"_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct", "model_type": "llama"})
    timeline(root, tasks, ranks)
    return names
