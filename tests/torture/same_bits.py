"""A run has the same bits on any number of ranks, and after kill -9 at random moments.

One small run (configs/small/same_bits.yaml) is done undisturbed on 1, 2 and 4 ranks, then `--runs` times with kills: a random layout is started, killed with
SIGKILL after a random time (mpirun, or one of its ranks) or stopped with SIGTERM, started again on another random layout, until it ends by itself. Every trained tensor and every
number of the report must be the same in all of them. Ends with one JSON line, also when a run fails.
"""
import argparse
import os
import random
import signal
import subprocess
import time

from support.killable_run import kill_all, ranks_of, start
from support.torture import torture
from support.trained_bits import differences, fingerprint, make_data

LAYOUTS = [1, 2, 4]
VARIANTS = {  # settings on top of configs/small/same_bits.yaml
    "adapters": [],
    "all-weights": ["base.tuning=full", "baselines=true"],
    "all-weights-sharded": ["base.tuning=full", "baselines=true", "base.shard=true", "base.gradient_checkpointing=true"],
    "all-labels": ["base.labels=all", "base.start=all_categories", "pooled_baseline=true", "folds=2"],
    "bfloat16": ["base.tuning=full", "base.shard=true", "compute.dtype=bfloat16"],
    "decoder": ["backbone.dir=${DMOERM_MODELS}/smollm2-135m-instruct", "backbone.chat_template=chatml", "backbone.layers=2", "base.lora_layers=1",
                "experts.train.lora_layers=1", "experts.per_task=2", "data.special_tokens_in_text=true"],
}


def interrupt(process, rng):
    """Send SIGKILL to a rank or to everything, or SIGTERM to the launcher, which must end the run by itself."""
    victims = ranks_of(process.pid)
    kind = rng.choice(["rank", "everything", "stop"])
    if kind == "rank" and victims:
        os.kill(rng.choice(victims), signal.SIGKILL)
        time.sleep(0.3)
    if kind == "stop":
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            kill_all(process)
            raise SystemExit("SIGTERM did not end the run within 60 s")
    kill_all(process)


def compare_runs(a, base):
    """Returns the number of runs, and how many of them ended differently."""
    rng = random.Random(a.seed)
    data = os.path.join(base, "data")
    make_data(data)
    reference, seconds, different, runs = None, 60.0, 0, 0
    process = None
    try:
        with open(os.path.join(base, "log"), "w") as log:
            for ranks in LAYOUTS:
                began = time.time()
                process = start(ranks, f"np{ranks}", data, base, log, VARIANTS[a.variant])
                if process.wait(timeout=900) != 0:
                    raise SystemExit(f"the undisturbed run on {ranks} ranks failed: see {base}/log")
                seconds = time.time() - began
                found = fingerprint(os.path.join(base, f"np{ranks}"))
                reference = reference or found
                same = found == reference and len(found) > 5
                different += not same
                runs += 1
                print(f"undisturbed on {ranks} ranks: {len(found)} files, {'same' if same else 'DIFFERENT'} ({seconds:.0f} s)", flush=True)
            for number in range(a.runs):
                name, kills, starts = f"killed{number}", 0, []
                while True:
                    ranks = rng.choice(LAYOUTS)
                    starts.append(ranks)
                    process = start(ranks, name, data, base, log, VARIANTS[a.variant])
                    patience = rng.uniform(0.02, 0.6) * seconds if kills < 6 else 900
                    try:
                        if process.wait(timeout=patience) == 0:
                            break
                        raise SystemExit(f"run {number} failed on its own: see {base}/log")
                    except subprocess.TimeoutExpired:
                        interrupt(process, rng)
                        kills += 1
                found = fingerprint(os.path.join(base, name))
                wrong = differences(found, reference)
                different += bool(wrong)
                runs += 1
                print(f"run {number}: {kills} kills, ranks {starts}, {'same' if not wrong else 'DIFFERENT: ' + ', '.join(wrong[:5])}", flush=True)
    finally:
        if process is not None and process.poll() is None:
            kill_all(process)
    return runs, different


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="Number of runs with kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", choices=VARIANTS, default="adapters")
    a = parser.parse_args()

    def body(base, line):
        line["runs"], line["different"] = compare_runs(a, base)

    torture(body, {"name": "same-bits", "variant": a.variant, "layouts": LAYOUTS, "runs": None, "different": None})


if __name__ == "__main__":
    main()
