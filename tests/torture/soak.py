"""A run with everything at once: labels from a judge, training, preemptions, lost ranks and full disks. It ends with the tensors and the bundle of an undisturbed run.

The small run (configs/small/same_bits.yaml) with a judge is done undisturbed on 2 ranks, then with harm, with a label store of its own: it is started on a random number of
ranks, and after a random time one of these happens:
  term      SIGTERM to the launch script: everything is saved, exit code 3
  requeue   SIGUSR2, which schedulers send ahead of a preemption: the same
  rank      kill -9 of one rank
  disk      the disk is full for some seconds (tests/support/refusing_system.cpp); the run goes on, or ends with code 2 or 3
Then it is started again, until it ends by itself. Runs follow each other until there were `--harms` harms. Only a kill or a full disk may make the judge answer a question twice.
Ends with one JSON line.
"""
import argparse
import collections
import os
import random
import signal
import subprocess
import time

from support.killable_run import command, kill_all, ranks_of
from support.label_world import World
from support.torture import torture
from support.trained_bits import differences, fingerprint

LAYOUTS = [1, 2, 4]
KINDS = ["term", "requeue", "rank", "disk"]
PATIENCE_S, FULL_S, LIMIT_S = 60, 4, 600
LIBRARY = os.path.join(os.environ["DMOERM_BUILD"], "tests", "librefusing_system.so")


class Soak:
    def __init__(self, a, base):
        self.a, self.base, self.rng = a, base, random.Random(a.seed)
        self.log_path, self.full = os.path.join(base, "log"), os.path.join(base, "disk-is-full")
        self.harms, self.codes, self.hung = collections.Counter(), collections.Counter(), 0
        self.world = World(base, 40, 3, ["--latency-ms", "20"])
        os.rename(os.path.join(base, "data.jsonl"), os.path.join(base, "synth.jsonl"))

    def start(self, ranks, name):
        judge = f"labels.judges=[{{model: judge, endpoints: [{{url: \"http://127.0.0.1:{self.world.port}/v1\"}}]}}]"
        settings = [judge, f"labels.store={self.base}/labels-{name}", "cluster.timeout_s=20"]
        arguments, environment = command(ranks, name, self.base, os.path.join(self.base, "runs"), settings)
        environment.update(LD_PRELOAD=LIBRARY, REFUSE_SPACE=self.full, REFUSE_SPACE_IN=self.base)
        with open(self.log_path, "a", encoding="utf-8") as log:
            return subprocess.Popen(arguments, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)

    def undisturbed(self):
        began = time.time()
        if self.start(2, "undisturbed").wait(timeout=LIMIT_S) != 0:
            raise SystemExit(f"the undisturbed run failed: see {self.log_path}")
        self.seconds, self.questions = time.time() - began, len(set(self.world.answers()))
        print(f"undisturbed: {self.seconds:.0f} s, {self.questions} questions", flush=True)

    def harm(self, process, kind):
        self.harms[kind] += 1
        if kind == "disk":
            open(self.full, "w", encoding="utf-8").close()
            time.sleep(FULL_S)
            os.remove(self.full)
            return
        victims = ranks_of(process.pid)
        if kind == "rank" and victims:
            os.kill(self.rng.choice(victims), signal.SIGKILL)
        else:
            process.send_signal(signal.SIGTERM if kind == "term" else signal.SIGUSR2)
        try:
            process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.hung += 1
            kill_all(process)

    def harmed(self, name):
        for _ in range(self.a.harms * 4 + 4):
            process = self.start(self.rng.choice(LAYOUTS), name)
            left = self.a.harms - sum(self.harms.values())
            while process.poll() is None:
                try:
                    process.wait(timeout=self.rng.uniform(0.05, 0.6) * self.seconds if left > 0 else LIMIT_S)
                except subprocess.TimeoutExpired:
                    if left <= 0:
                        self.hung += 1
                        kill_all(process)
                        raise SystemExit(f"not ended within {LIMIT_S} s undisturbed: see {self.log_path}") from None
                    self.harm(process, self.rng.choice(KINDS))
                    left -= 1
            kill_all(process)
            self.codes[process.returncode] += 1
            if process.returncode == 0:
                return
            if process.returncode not in (1, 2, 3):
                raise SystemExit(f"exit code {process.returncode}: see {self.log_path}")
        raise SystemExit(f"not ended after many starts: see {self.log_path}")

    def tensors(self, name):
        """Checksums of the tensors of all tasks and of the bundle."""
        folder = os.path.join(self.base, "runs", name)
        found = {k: v for k, v in fingerprint(folder).items() if k.endswith(".safetensors")}
        return {**found, **{f"bundle/{k}": v for k, v in fingerprint(os.path.join(folder, "bundle")).items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harms", type=int, default=20, help="Number of harms")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()

    def body(base, line):
        soak = Soak(a, base)
        try:
            soak.undisturbed()
            line.update(different=0, answered_twice=0, questions=soak.questions, runs=0)
            while sum(soak.harms.values()) < a.harms:
                line["runs"] += 1
                name, before, earlier = f"harmed-{line['runs']}", len(soak.world.answers()), soak.harms.copy()
                soak.harmed(name)
                answers, harms = collections.Counter(soak.world.answers()[before:]), soak.harms - earlier
                again = sum(answers.values()) - len(answers)
                wrong = differences(soak.tensors(name), soak.tensors("undisturbed"))
                line["different"] += len(wrong)
                line["answered_twice"] += again
                if wrong:
                    print(f"{name} is different: " + ", ".join(wrong[:5]), flush=True)
                if len(answers) != soak.questions or (again > 0 and harms["rank"] + harms["disk"] == 0):
                    raise SystemExit(f"{name}: {len(answers)} of {soak.questions} questions, {again} of them twice")
        finally:
            soak.world.stop_server()
            line.update(harms=dict(soak.harms), codes=dict(soak.codes), hung=soak.hung)

    torture(body, {"name": "soak", "layouts": LAYOUTS})


if __name__ == "__main__":
    main()
