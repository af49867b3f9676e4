"""first-step: seconds from starting the program to the end of the first optimizer step on SmolLM2, data ready, against starting the peer loop for one step.

Ours is `dmoerm run` on generated data whose token store is there already: reading and checking configuration, store and weights, a validation pass over one
group, one step over two groups, and the validation pass after it. The peer trains two pairs of its synthetic data, started as a script. Ends with one JSON line.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

from bench_common import DEFAULT_MODEL, ROOT, SHARED, verdict


def ours_once(data, runs, number):
    """Start a run whose first task takes one step, and stop it when that is logged."""
    command = [f"{ROOT}/launch/dmoerm", "run", "--config", f"{ROOT}/configs/small/bundle.yaml", "--set", f"runs_dir={runs}", "--set", "backbone.layers=0", "--set", "base.lora_layers=0", "--set", "experts.train.lora_layers=0", "--set", "compute.threads=2",
               "--set", "base.steps_max=1", "--set", "base.eval_groups_max=1", "--set", "base.groups_per_step=2", "--set", f"base.lr={1e-3 + number * 1e-6}", "--update"]
    began = time.time()
    process = subprocess.Popen(command, env=dict(os.environ, DMOERM_DATA=data), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = None
    for line in process.stderr:
        if seconds is None and re.search(r"\[train\] .* step=1/", line):
            seconds = time.time() - began
            process.terminate()
    process.wait()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    ours, peer = [], []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([f"{ROOT}/launch/dmoerm", "synth", "--out", f"{folder}/synth.jsonl", "--groups", "40", "--categories", "2"], check=True, stdout=subprocess.DEVNULL)
        ours_once(folder, folder, 0)  # makes the token store
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        for number in range(a.repeats):
            ours.append(ours_once(folder, folder, number + 1))
            began = time.time()
            subprocess.run([sys.executable, os.path.join(SHARED, "peers", "peer_train.py"), "--model", DEFAULT_MODEL, "--peer", "loop", "--experts", "1", "--pairs", "2", "--batch", "2",
                            "--threads", "2"], check=True, capture_output=True, env=environment)
            peer.append(time.time() - began)
            print(f"ours {ours[-1]:.2f} s, peer {peer[-1]:.2f} s", flush=True)
    verdict("first-step", "s", ours, peer)


if __name__ == "__main__":
    main()
