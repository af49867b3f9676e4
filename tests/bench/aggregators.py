"""aggregators: seconds to fit and cross-validate each kind of aggregator on synthetic states, on the CPU.

mean, stack, gate, mlp, wco and uwo are fitted once and on five folds; the paper's MLP, which a run fits once, with --paper. Ends with one JSON line.
"""
import argparse
import os
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8000)
    parser.add_argument("--experts", type=int, default=6)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--responses", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--paper", action="store_true", help="the paper's MLP too")
    a = parser.parse_args()
    program = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_aggregators")
    kinds = ["mean", "stack", "gate", "mlp", "wco", "uwo"] + (["paper_mlp"] if a.paper else [])
    numbers = [str(n) for n in (a.prompts, a.experts, a.width, a.responses, a.threads)]
    return subprocess.run([program, *numbers, *kinds], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
