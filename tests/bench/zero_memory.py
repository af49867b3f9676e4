"""zero-memory: memory of a rank that trains all weights of SmolLM2-135M, whole and in shards on 1, 2 and 4 ranks, against the formula.

Formula: N weights + (two moments + best weights + s sums) N / ranks + gradients of two layers and of the embeddings. A step has eight micro batches, one a group,
so a rank adds b = 8 / ranks of them in a tree, which holds at most s = floor(log2(b + 1)) sums. "state_mib" is what the program counts of its tensors.
"predicted_mib" adds what the run on one rank has beside them: activations, program, libraries. Losses must be the same bits. MiB of the largest rank. Ends with
one JSON line.
"""
import argparse
import json
import math
import os
import subprocess
import tempfile

from bench_common import DEFAULT_MODEL, last_json

MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
       "OMPI_MCA_btl": "self,vader,tcp", "OMPI_MCA_pml": "ob1", "OMPI_MCA_plm_rsh_agent": "", "OMP_NUM_THREADS": "1"}


def train(model, ranks, *options):
    """One training by tests/bench/zero_memory.cpp; its figures and its losses."""
    program = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_zero_memory")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | MPI
    with tempfile.TemporaryDirectory() as folder:
        command = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none", program, "--model", model, "--folder", folder, *map(str, options)]
        found = last_json(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
        with open(os.path.join(folder, "out", "metrics.jsonl"), encoding="utf-8") as file:
            losses = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in file]
    return found, losses


def largest(found, key):
    return max(rank[key] for rank in found["ranks"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    a = parser.parse_args()
    one, losses = train(a.model, 1)
    rest = largest(one, "peak_mib") - largest(one, "state_mib")  # activations, program, libraries
    rows, same = [], True
    for ranks, shard, recompute in [(1, False, False), (1, False, True), (2, False, False), (2, True, False), (4, True, False), (4, True, True)]:
        found, own = (one, losses) if (ranks, recompute) == (1, False) else train(a.model, ranks, *["--shard"] * shard, *["--recompute"] * recompute)
        same = same and own == losses
        spread = ranks if shard else 1
        sums = int(math.log2(8 // ranks + 1))
        formula = found["weights_mib"] * (1 + (3 + sums) / spread) + 2 * found["layer_mib"] + found["embeddings_mib"]
        rows.append({"ranks": ranks, "shard": shard, "recompute": recompute, "peak_mib": round(largest(found, "peak_mib")), "predicted_mib": round(largest(found, "state_mib") + rest),
                     "state_mib": round(largest(found, "state_mib")), "formula_mib": round(formula), "seconds": round(found["seconds"], 1),
                     "comm_seconds": round(largest(found, "comm_seconds"), 1), "comm_mib": round(largest(found, "comm_bytes") / 2**20)})
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({"name": "zero-memory", "unit": "MiB", "steps": losses[-1]["step"], "losses_same_bits": same, "rows": rows}))
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
