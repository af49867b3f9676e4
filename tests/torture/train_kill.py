"""Training that is killed, stopped, interrupted and continued on other numbers of ranks ends with the bits of an undisturbed run.

The small run (configs/small/same_bits.yaml) is done undisturbed on 1, 2, 4 and 8 ranks, then `--runs` times with harm: it is started on a random number of ranks, and after a random
time one of these happens:
  rank      kill -9 of one rank: the launcher ends the others
  launcher  kill -9 of mpirun: the ranks notice and leave
  term      SIGTERM to the launch script: everything is saved, exit code 3
  requeue   SIGUSR2, which schedulers send ahead of a preemption: the same
  silent    SIGSTOP of one rank: the others end the job within cluster.timeout_s (5 s here) and name it
Then it is started again on another number of ranks, until it ends by itself. A job that is still there 40 s after the harm counts as hung. Ends with one JSON line.
"""
import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import time

from support.killable_run import kill_all, ranks_of, start
from support.torture import torture
from support.trained_bits import differences, fingerprint, make_data

LAYOUTS = [1, 2, 4, 8]
LIMIT_S, PATIENCE_S = 5, 40
SETTINGS = [f"cluster.timeout_s={LIMIT_S}"]
KINDS = ["rank", "launcher", "term", "requeue", "silent"]


def harm(process, kind, rng, log_path):
    """Do the harm. Returns what went wrong, or None."""
    victims = ranks_of(process.pid)
    if not victims:
        return None
    written = os.path.getsize(log_path)
    if kind == "rank":
        os.kill(rng.choice(victims), signal.SIGKILL)
    elif kind == "launcher":
        for pid in ranks_of(process.pid, ("mpirun",)):
            os.kill(pid, signal.SIGKILL)
    elif kind == "silent":
        os.kill(rng.choice(victims), signal.SIGSTOP)
    else:
        process.send_signal(signal.SIGTERM if kind == "term" else signal.SIGUSR2)
    deadline = time.time() + PATIENCE_S
    while time.time() < deadline and (process.poll() is None or ranks_of(process.pid)):
        time.sleep(0.1)
    if process.poll() is None or ranks_of(process.pid):
        return f"{kind}: still there after {PATIENCE_S} s"
    with open(log_path, errors="replace") as f:
        f.seek(written)
        said = f.read()
    # While MPI starts, and after the goodbye, no rank can know which one was lost; the job must say what did not happen.
    if kind == "silent" and process.returncode != 0 and not any(words in said for words in ("has been silent for", "not all ranks have started", "not all ranks have left")):
        return "silent: nothing was said of it"
    if kind in ("term", "requeue") and process.returncode not in (0, 3):
        return f"{kind}: exit code {process.returncode}"
    return None


class Torture:
    def __init__(self, a, base):
        self.a, self.base = a, base
        self.rng = random.Random(a.seed)
        self.log_path = os.path.join(base, "log")
        self.different = self.hung = self.runs = 0
        self.kinds = collections.Counter()

    def compare(self, name, what):
        found = fingerprint(os.path.join(self.base, name))
        self.reference = self.reference or found
        wrong = differences(found, self.reference)
        self.different += bool(wrong) or len(found) <= 5
        self.runs += 1
        print(f"{what}: {'same' if not wrong else 'DIFFERENT: ' + ', '.join(wrong[:5])}", flush=True)
        shutil.rmtree(os.path.join(self.base, name))

    def undisturbed(self, log, data):
        self.reference, self.seconds = None, {}
        for ranks in LAYOUTS:
            began = time.time()
            process = start(ranks, f"np{ranks}", data, self.base, log, SETTINGS)
            if process.wait(timeout=900) != 0:
                raise SystemExit(f"the undisturbed run on {ranks} ranks failed: see {self.log_path}")
            self.seconds[ranks] = time.time() - began
            self.compare(f"np{ranks}", f"undisturbed on {ranks} ranks ({self.seconds[ranks]:.0f} s)")

    def harmed(self, number, log, data):
        name, starts = f"harmed{number}", []
        while True:
            ranks = self.rng.choice(LAYOUTS)
            process = start(ranks, name, data, self.base, log, SETTINGS)
            patience = self.rng.uniform(0.05, 0.8) * self.seconds[ranks] if len(starts) < self.a.harms else 900
            try:
                code = process.wait(timeout=patience)
                if code == 0:
                    break
                raise SystemExit(f"run {number} failed on its own with code {code}: see {self.log_path}")
            except subprocess.TimeoutExpired:
                if len(starts) >= self.a.harms:
                    self.hung += 1
                    raise SystemExit(f"run {number} did not end within {patience:.0f} s undisturbed: see {self.log_path}") from None
                kind = self.rng.choice([k for k in KINDS if ranks > 1 or k != "silent"])  # no other rank would notice
                problem = harm(process, kind, self.rng, self.log_path)
                self.kinds[kind] += 1
                starts.append(f"{ranks}:{kind}")
                if problem:
                    self.hung += 1
                    print(f"run {number}: {problem}", flush=True)
                kill_all(process)
        self.compare(name, f"run {number} ({' '.join(starts)} {ranks})")

    def run(self):
        data = os.path.join(self.base, "data")
        make_data(data)
        with open(self.log_path, "w") as log:
            self.undisturbed(log, data)
            for number in range(self.a.runs):
                self.harmed(number, log, data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="Number of runs with harm")
    parser.add_argument("--harms", type=int, default=3, help="Most harms in one run")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()

    def body(base, line):
        kills = Torture(a, base)
        try:
            kills.run()
        finally:
            line.update(runs=kills.runs, harms=dict(kills.kinds), different=kills.different, hung=kills.hung)

    torture(body, {"name": "train-kill", "layouts": LAYOUTS})


if __name__ == "__main__":
    main()
