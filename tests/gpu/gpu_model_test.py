#!/usr/bin/env python3
"""The model of a step on a GPU: docs/results/gpu.md has the tables that `gpu-model` prints, with the launches that are counted there; its counts are right where they can be made by hand."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCH = os.path.join(ROOT, "tests", "bench")
sys.path[:0] = [BENCH, os.path.join(BENCH, "support")]
import gpu_model  # noqa: E402


def model(*words):
    environment = os.environ | {"PYTHONPATH": os.path.join(BENCH, "support")}
    return subprocess.run([sys.executable, os.path.join(BENCH, "gpu_model.py"), *words], capture_output=True, text=True, env=environment)


def check_document():
    with open(os.path.join(ROOT, "docs", "results", "gpu.md"), encoding="utf-8") as file:
        page = file.read()
    rows = [line for line in model().stdout.splitlines() if line.startswith("| ")]
    assert len(rows) > 15, rows
    for row in rows:
        assert row in page, f"docs/results/gpu.md lacks a row that launch/bench.sh gpu-model prints now: {row}"
    for device in gpu_model.MEMORY_GB_S:
        for words in ([], ["--real-lengths"]):
            found = json.loads(model("--device", device, *words).stdout.splitlines()[-1])
            assert found["modelled"] is True
            row = f"{found['step_ms']:.0f} ms | {found['peer_step_ms']:.0f} ms | {100 * found['share_of_peak']:.0f} % | {found['ratio']:.2f} |"
            assert row in page, f"docs/results/gpu.md lacks, for {device} {words}: {row}"
    counted = next(line for line in page.splitlines() if line.startswith("| dropout 0.05, one pass"))
    assert f" {gpu_model.LAUNCHES:,} |" in counted, f"tests/bench/gpu_model.py has {gpu_model.LAUNCHES} launches: {counted}"
    peer = next(line for line in page.splitlines() if line.startswith("| transformers "))
    assert f" {gpu_model.PEER_LAUNCHES:,} |" in peer, peer


def check_counts():
    assert gpu_model.LAYERS * gpu_model.LAYER_MACS == 1310195712
    assert gpu_model.ADAPTER == 4358144, "numbers of PEFT's adapter of rank 32 on q and v"
    assert gpu_model.tiles(119, 119, True) == 128 * 128 and gpu_model.tiles(45, 45, True) == 128 * 64
    assert gpu_model.tiles(256, 256, True) == 128 * 128 + 128 * 256, "the first tile sees half of the keys"
    assert gpu_model.tiles(90, 119, False) == 128 * 128
    assert gpu_model.visible(3, [2]) == 6 + 2 * 3 + 3
    assumed = gpu_model.assumptions([])
    _, tokens = gpu_model.peer_passes([(10, [5, 6]), (100, [1, 2])], 1, "h100", assumed)
    assert tokens == 2 * 16 + 2 * 102, "each pass is padded to its longest text"
    slow = gpu_model.behind_the_host({"products": 1.0}, 3.0)
    assert sum(slow.values()) == 3.0 and sum(gpu_model.behind_the_host({"products": 1.0}, 0.5).values()) == 1.0


def check_refusals():
    for words, part in ((["--set", "speed=1"], "no such assumption; there are matrix_peak"), (["--set", "gap_us=none"], "expected a number above 0"), (["--pairs", "0"], "numbers above 0")):
        done = model(*words)
        assert done.returncode != 0 and part in done.stderr, (words, done)


if __name__ == "__main__":
    check_counts()
    check_document()
    check_refusals()
    print("gpu model: all checks passed")
