#!/usr/bin/env python3
"""The model of work on a GPU: docs/results/gpu.md has the tables that `gpu-model` prints, with the launches that are counted there; its shapes are those of `launch/dev gpu`; its counts are right where they
can be made by hand or row by row."""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCH = os.path.join(ROOT, "tests", "bench")
sys.path[:0] = [BENCH, os.path.join(BENCH, "support"), os.path.join(ROOT, "tests", "support")]
os.environ.setdefault("DMOERM_ROOT", ROOT)
os.environ.setdefault("DMOERM_BUILD", "")  # none of its programs is run here
import gpu  # noqa: E402
import gpu_model  # noqa: E402
import serve_load  # noqa: E402
import tiny_model  # noqa: E402
from made_up_groups import group_of_lengths  # noqa: E402

SIZES = gpu.SIZES[False]


def model(*words):
    environment = os.environ | {"PYTHONPATH": os.path.join(BENCH, "support")}
    return subprocess.run([sys.executable, os.path.join(BENCH, "gpu_model.py"), *words], capture_output=True, text=True, env=environment)


def found_by(*words):
    found = json.loads(model(*words).stdout.splitlines()[-1])
    assert found["modelled"] is True
    return found


def check_document():
    with open(os.path.join(ROOT, "docs", "results", "gpu.md"), encoding="utf-8") as file:
        page = file.read()
    for workload in ("pairs", "groups", "best-of"):
        rows = [line for line in model("--workload", workload).stdout.splitlines() if line.startswith("| ")]
        assert len(rows) > 15, rows
        for row in rows:
            assert row in page, f"docs/results/gpu.md lacks a row that launch/bench.sh gpu-model --workload {workload} prints now: {row}"
    rows = []
    for device in gpu_model.MEMORY_GB_S:
        for words in ([], ["--real-lengths"]):
            found = found_by("--device", device, *words)
            rows.append(f"{found['step_ms']:.0f} ms | {found['peer_step_ms']:.0f} ms | {100 * found['share_of_peak']:.0f} % | {found['ratio']:.2f} |")
        groups, best_of = (found_by("--device", device, "--workload", name) for name in ("groups", "best-of"))
        rows.append(f"| {device.upper()} | {groups['step_ms']:.0f} ms | {100 * groups['share_of_peak']:.0f} % | {groups['ratio']:.2f} | {groups['listwise_ratio']:.2f} |")
        rows.append(f"| {device.upper()} | {best_of['step_ms']:.0f} ms | {best_of['peer_step_ms']:.0f} ms | {100 * best_of['share_of_peak']:.0f} % | {best_of['ratio']:.2f} |")
    for row in rows:
        assert row in page, f"docs/results/gpu.md lacks: {row}"
    for begin, name in (("| dropout 0.05, one pass", "LAUNCHES"), ("| transformers 5.17 ", "PEER_LAUNCHES"), ("| 28 layers, in passes of 16,384 tokens", "REQUEST_LAUNCHES"),
                        ("| transformers 5.23 with PEFT, one expert", "PEER_SCORING_LAUNCHES")):
        counted, number = next(line for line in page.splitlines() if line.startswith(begin)), getattr(gpu_model, name)
        assert f" {number:,} |" in counted, f"tests/bench/gpu_model.py has {name} = {number}: {counted}"


def check_shapes():
    """Those of launch/dev gpu, whose groups and pairs are made here as it makes them."""
    wanted = SIZES["groups"]
    assert gpu_model.GROUPS == [(wanted["prefix"], wanted["responses"])] * wanted["count"]
    assert gpu_model.GROUP_SIZES == {"pairs": wanted["pair_batches"], "listwise": wanted["batches"]} and gpu_model.PAIR_SIZES == SIZES["pair_batches"]
    groups = group_of_lengths(wanted["count"], SIZES["vocabulary"], wanted["prefix"], wanted["responses"])
    texts = [[g["prefix"] + r for r in g["responses"]] for g in groups]
    pairs = [(len(own[a]), len(own[b])) for own, g in zip(texts, groups) for a, b in g["pairs"][:wanted["pairs_per_group"]]]
    packed = sum(len(g["prefix"]) + sum(map(len, g["responses"])) for g in groups)
    assert packed <= SIZES["tokens"], "a step is one pass"
    found = found_by("--workload", "groups")
    assert (found["tokens"], found["peer_tokens"], found["listwise_tokens"]) == (packed, sum(map(sum, pairs)), sum(len(text) for own in texts for text in own))
    assert (found["pairs"], found["peer_pairs"], found["listwise_pairs"]) == (sum(len(g["pairs"]) for g in groups), len(pairs), sum(len(g["pairs"]) for g in groups))


def words_and_marks(text):
    """Tokens of a text under the tokenizer of launch/dev gpu: the benchmark's words are one each, as marks are; other words are spelled."""
    known = set(serve_load.WORDS)
    return sum(1 if part in known or not part.isalnum() else len(part) for part in re.findall(r"\w+|[^\w\s]", text.lower()))


def check_texts():
    """Tokens of the prompt and the responses of best-of-64, as the bundle's template renders them."""
    wanted = SIZES["best_of"]
    row = serve_load.make_rows(1, wanted["responses"], wanted["prompt-words"], wanted["response-words"], 5)[0]
    with open(os.path.join(ROOT, "tests", "golden", "earlier", "bundle", "dmoerm.json"), encoding="utf-8") as file:
        template = json.load(file)["template"]["text"]
    for line in ("start: {head}", "user: User: {content}\\n", "answer: Assistant:{sep|}", "response:  {content}{end}"):
        assert line + "\n" in template, f"the template's tokens are counted here by hand: {line} is not in {template}"
    vocabulary = tiny_model.tokenizer()["model"]["vocab"]
    assert {"[CLS]", "[SEP]", "a"} <= set(vocabulary) and not {"user", "assistant"} & set(vocabulary)
    assert gpu_model.PROMPT == 1 + words_and_marks(f"User: {row['prompt']}") + words_and_marks("Assistant:") + 1, "[CLS] and [SEP]"
    assert gpu_model.RESPONSES == [words_and_marks(response) + 1 for response in row["responses"]], "[SEP]"
    assert (gpu_model.EXPERTS, gpu_model.BATCH_TOKENS) == (wanted["experts"], SIZES["tokens"])
    assert gpu_model.ROUTER_LAYERS == -(-2 * gpu_model.LAYERS // 3), "tests/bench/support/score_bench.py"


class Packed:
    """Rows of a packed group one by one, for counts without a formula: (number of the response or 0 for the prompt, position)."""

    def __init__(self, prompt, responses):
        self.rows = [(0, i) for i in range(prompt)] + [(n, prompt + i) for n, own in enumerate(responses, 1) for i in range(own)]

    def sees(self, query, key):
        (own, at), (other, before) = self.rows[query], self.rows[key]
        return before <= at and other in (0, own)

    def visible(self):
        return sum(self.sees(q, k) for q in range(len(self.rows)) for k in range(len(self.rows)))


def seen_tiles(queries, keys, sees):
    """Rows in the tiles of 128 x 64 up to the last that holds a visible pair."""
    computed = 0
    for q in range(0, queries, 128):
        own = range(q, min(q + 128, queries))
        computed += max(k // 64 + 1 for k in range(keys) if any(sees(i, k) for i in own))
    return 128 * 64 * computed


def check_counts():
    assert gpu_model.LAYERS * gpu_model.LAYER_MACS == 1310195712
    assert gpu_model.ADAPTER == 4358144, "numbers of PEFT's adapter of rank 32 on q and v"
    assert gpu_model.tiles(119, 119, True) == 128 * 128 and gpu_model.tiles(45, 45, True) == 128 * 64
    assert gpu_model.tiles(256, 256, True) == 128 * 128 + 128 * 256, "the first tile sees half of the keys"
    assert gpu_model.tiles(90, 119, False) == 128 * 128
    assert gpu_model.visible(3, [2]) == 6 + 2 * 3 + 3
    for prompt, responses in (gpu_model.GROUPS[0], (119, [45, 45]), (7, [3, 150, 1]), (0, [5, 2])):
        assert gpu_model.visible(prompt, responses) == Packed(prompt, responses).visible(), (prompt, responses)
    causal = lambda q, k: k <= q  # noqa: E731
    for rows in (1, 61, 121, 217, 338, 511):
        assert gpu_model.tiles(rows, rows, True) == seen_tiles(rows, rows, causal), rows
    for queries, keys in ((976, 450), (7744, 217)):
        assert gpu_model.tiles(queries, keys, False) == seen_tiles(queries, keys, lambda q, k: True), (queries, keys)
    assumed = gpu_model.assumptions([])
    units = gpu_model.labelled_pairs([(100, [1, 2]), (10, [5, 6])])
    side = gpu_model.peer_passes(units, gpu_model.padded(units, 1), "h100", assumed)
    assert side.tokens == 2 * 16 + 2 * 102 and side.units == 2, "each pass is padded to its longest text"
    slow = gpu_model.behind_the_host({"products": 1.0}, 3.0)
    assert sum(slow.values()) == 3.0 and sum(gpu_model.behind_the_host({"products": 1.0}, 0.5).values()) == 1.0
    half = gpu_model.Side({"all": 1.0}, 0, 60).ratio_to(gpu_model.Side({"all": 1.0}, 0, 30))
    assert half == 2.0, "twice as many pairs in the same time"


def check_memory():
    """32 pairs of long texts fit the larger GPU alone, as 64 of HH's do."""
    for units, size in ((gpu_model.labelled_pairs(gpu_model.GROUPS, 4), 32), (gpu_model.labelled_pairs([(119, [45, 45])] * 64), 64)):
        assert [gpu_model.fits(gpu_model.padded(units, size), device) for device in ("h100", "h200")] == [False, True]


def check_refusals():
    for words, part in ((["--set", "speed=1"], "no such assumption; there are matrix_peak"), (["--set", "gap_us=none"], "expected a number above 0"), (["--pairs", "0"], "numbers above 0"),
                        (["--workload", "groups", "--prompt", "9"], "--prompt is of --workload pairs"), (["--workload", "best-of", "--real-lengths"], "--real-lengths is of --workload pairs"),
                        (["--prompt", "9000"], "no batch of the peer fits the 80 GB of h100")):
        done = model(*words)
        assert done.returncode != 0 and part in done.stderr, (words, done)


if __name__ == "__main__":
    check_counts()
    check_memory()
    check_shapes()
    check_texts()
    check_document()
    check_refusals()
    print("gpu model: all checks passed")
