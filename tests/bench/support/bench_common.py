"""What the benchmarks share: running ours and the peer in turns, medians, the JSON line."""
import json
import os
import statistics
import subprocess
import sys

ROOT = os.environ["DMOERM_ROOT"]
SHARED = os.path.join(ROOT, "..", "shared")
DEFAULT_MODEL = os.path.join(os.environ.get("DMOERM_MODELS", ""), "smollm2-135m-instruct")
sys.path.insert(0, os.path.join(SHARED, "peers"))


def last_json(text):
    return json.loads(text[text.index("{"):])


def run_ours(model, groups, threads, *options):
    """tests/bench/train_step.cpp on a file of groups; its result."""
    command = [os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_train_step"), "--model", model, "--groups", groups, "--threads", str(threads), *map(str, options)]
    return last_json(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def machine_peaks(*options):
    """What tests/bench/peaks.cpp measures."""
    return last_json(subprocess.run([os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_peaks"), *map(str, options)], check=True, capture_output=True, text=True).stdout)


def run_peer(script, model, threads, *options):
    """A script of ../shared/peers; its result. It sets the allocator up for itself."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    command = [sys.executable, os.path.join(SHARED, "peers", script), "--model", model, "--threads", str(threads), *map(str, options)]
    return last_json(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def shared_layout(sequences, pairs):
    """A group as bench_train_step reads it: the common prefix once, every response keeping a token."""
    prefix = min(len(s) for s in sequences) - 1
    for s in sequences[1:]:
        n = 0
        while n < prefix and s[n] == sequences[0][n]:
            n += 1
        prefix = n
    return {"prefix": sequences[0][:prefix], "responses": [s[prefix:] for s in sequences], "pairs": [list(p) for p in pairs]}


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
    return path


def verdict(name, unit, ours, peer, **more):
    """The last line of a benchmark."""
    o, p = statistics.median(ours), statistics.median(peer)
    print(json.dumps({"name": name, "unit": unit, "ours": round(o, 4), "peer": round(p, 4), "ratio": round(o / p, 3),
                      "spread": {"ours": [round(min(ours), 4), round(max(ours), 4)], "peer": [round(min(peer), 4), round(max(peer), 4)]}, **more}))
