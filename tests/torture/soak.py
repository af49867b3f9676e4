"""A run with everything at once: labels from a judge, training, preemptions, lost ranks and full disks. It ends with the tensors and the bundle of an undisturbed run.

The small run (configs/small/same_bits.yaml) with a judge is done undisturbed on 2 ranks, then with harm, with a label store of its own: it is started on a random number of
ranks, and after a random time one of these happens:
  term      SIGTERM to the launch script: everything is saved, exit code 3
  requeue   SIGUSR2, which schedulers send ahead of a preemption: the same
  rank      kill -9 of one rank
  disk      the disk is full for some seconds (tests/support/refusing_system.cpp); the run goes on, or ends with code 2 or 3
Then it is started again, until it ends by itself. Runs follow each other until there were `--harms` harms. Only a kill or a full disk may make the judge answer a question twice.
With --slurm each harmed run is a job of launch/slurm/dmoerm.sbatch with 4 ranks on a Slurm of this machine (cluster/local-slurm; as root), and the harms are
  preempt   a more urgent job takes all nodes; the job is queued again
  requeue   `scontrol requeue`
  rank, disk as above
Ends with one JSON line.
"""
import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import time

from support.killable_run import command, kill_all, ranks_of
from support.label_world import World
from support.local_slurm import LocalSlurm
from support.torture import torture
from support.trained_bits import CONFIG, ROOT, differences, fingerprint

LAYOUTS = [1, 2, 4]
PATIENCE_S, FULL_S, LIMIT_S = 60, 4, 600
LIBRARY = os.path.join(os.environ["DMOERM_BUILD"], "tests", "librefusing_system.so")
SCRIPT = f"{ROOT}/launch/slurm/dmoerm.sbatch"
HOST_OF_NODES = "10.77.0.254"  # this machine, as the nodes of cluster/local-slurm see it


class LocalRun:
    """A start of the launch script on this machine."""

    kinds = ["term", "requeue", "rank", "disk"]

    def __init__(self, soak, name, ranks):
        arguments, environment = command(ranks, name, soak.base, os.path.join(soak.base, "runs"), soak.settings(name))
        with open(soak.log_path, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(arguments, env=dict(environment, **soak.disk()), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)

    def code(self, wait_s):
        """Exit code once it has ended; None if it has not within that time."""
        try:
            return self.process.wait(timeout=wait_s)
        except subprocess.TimeoutExpired:
            return None

    def harm(self, kind, rng):
        """Returns how long it may take until it has ended; None if it may go on."""
        victims = ranks_of(self.process.pid)
        if kind == "rank" and victims:
            os.kill(rng.choice(victims), signal.SIGKILL)
        else:
            self.process.send_signal(signal.SIGTERM if kind == "term" else signal.SIGUSR2)
        return PATIENCE_S

    def remove(self):
        kill_all(self.process)


class SlurmRun:
    """A job under the local Slurm."""

    kinds = ["preempt", "requeue", "rank", "disk"]

    def __init__(self, soak, name):
        self.slurm = soak.slurm
        settings = ["--config", CONFIG, "--set", f"name={name}", "--set", f"runs_dir={soak.base}/runs"]
        for setting in soak.settings(name):
            settings += ["--set", setting]
        self.job = self.slurm.submit(SCRIPT, ["run", *settings], ["--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1", f"--output={soak.log_path}", f"--chdir={soak.base}"],
                                     {"DMOERM_DATA": soak.base, **soak.disk()})

    def code(self, wait_s):
        job = self.slurm.wait_ended(self.job, wait_s)
        return None if job is None else int(job["ExitCode"].split(":")[0])

    def harm(self, kind, rng):
        if kind == "rank":
            victims = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if self.is_rank(pid)]
            if not victims:
                return None  # the job waits for its nodes
            os.kill(int(rng.choice(victims)), signal.SIGKILL)
            return 3 * PATIENCE_S  # srun gives the others 90 s
        if kind == "preempt":
            self.slurm.command("sbatch", "--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
        elif self.slurm.job(self.job)["JobState"] == "RUNNING":
            self.slurm.command("scontrol", "requeue", self.job)
        return None

    def is_rank(self, pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as name, open(f"/proc/{pid}/environ", "rb") as environment:
                return name.read().strip() == "dmoerm" and f"SLURM_JOB_ID={self.job}".encode() in environment.read().split(b"\0")
        except OSError:
            return False

    def remove(self):
        if self.code(0.1) is None:
            self.slurm.command("scancel", self.job)
            self.slurm.wait_ended(self.job, PATIENCE_S)


class Soak:
    def __init__(self, a, base, slurm):
        self.a, self.base, self.slurm, self.rng = a, base, slurm, random.Random(a.seed)
        self.log_path, self.full = os.path.join(base, "log"), os.path.join(base, "disk-is-full")
        self.harms, self.codes, self.hung = collections.Counter(), collections.Counter(), 0
        self.host = HOST_OF_NODES if slurm else "127.0.0.1"
        self.world = World(base, 40, 3, ["--latency-ms", "20", "--address", self.host])
        os.rename(os.path.join(base, "data.jsonl"), os.path.join(base, "synth.jsonl"))

    def settings(self, name):
        judge = f"labels.judges=[{{model: judge, endpoints: [{{url: \"http://{self.host}:{self.world.port}/v1\"}}]}}]"
        return [judge, f"labels.store={self.base}/labels-{name}", "cluster.timeout_s=20"]

    def disk(self):
        """Variables by which the disk can be filled."""
        return {"LD_PRELOAD": LIBRARY, "REFUSE_SPACE": self.full, "REFUSE_SPACE_IN": self.base}

    def start(self, name):
        return SlurmRun(self, name) if self.slurm else LocalRun(self, name, self.rng.choice(LAYOUTS))

    def undisturbed(self):
        began = time.time()
        if LocalRun(self, "undisturbed", 2).code(LIMIT_S) != 0:
            raise SystemExit(f"the undisturbed run failed: see {self.log_path}")
        self.seconds, self.questions = time.time() - began, len(set(self.world.answers()))
        print(f"undisturbed: {self.seconds:.0f} s, {self.questions} questions", flush=True)

    def harm(self, run, kind):
        self.harms[kind] += 1
        if kind == "disk":
            open(self.full, "w", encoding="utf-8").close()
            time.sleep(FULL_S)
            os.remove(self.full)
            return
        ends_in = run.harm(kind, self.rng)
        if ends_in is not None and run.code(ends_in) is None:
            self.hung += 1
            run.remove()

    def harmed(self, name):
        for _ in range(self.a.harms * 4 + 4):
            run = self.start(name)
            left = self.a.harms - sum(self.harms.values())
            while (code := run.code(self.rng.uniform(0.05, 0.6) * self.seconds if left > 0 else LIMIT_S)) is None:
                if left <= 0:
                    self.hung += 1
                    run.remove()
                    raise SystemExit(f"not ended within {LIMIT_S} s undisturbed: see {self.log_path}")
                self.harm(run, self.rng.choice(run.kinds))
                left -= 1
            run.remove()
            self.codes[code] += 1
            if code == 0:
                return
            if code not in (1, 2, 3):
                raise SystemExit(f"exit code {code}: see {self.log_path}")
        raise SystemExit(f"not ended after many starts: see {self.log_path}")

    def tensors(self, name):
        """Checksums of the tensors of all tasks and of the bundle."""
        folder = os.path.join(self.base, "runs", name)
        found = {k: v for k, v in fingerprint(folder).items() if k.endswith(".safetensors")}
        return {**found, **{f"bundle/{k}": v for k, v in fingerprint(os.path.join(folder, "bundle")).items()}}


def soak_all(soak, line):
    try:
        soak.undisturbed()
        line.update(different=0, answered_twice=0, questions=soak.questions, runs=0)
        while sum(soak.harms.values()) < soak.a.harms:
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
            if len(answers) != soak.questions or (again > 0 and not harms.keys() & {"rank", "disk"}):
                raise SystemExit(f"{name}: {len(answers)} of {soak.questions} questions, {again} of them twice")
    finally:
        soak.world.stop_server()
        line.update(harms=dict(soak.harms), codes=dict(soak.codes), hung=soak.hung)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harms", type=int, default=20, help="Number of harms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slurm", action="store_true", help="Run as jobs of a Slurm on this machine")
    a = parser.parse_args()

    def body(base, line):
        with LocalSlurm() if a.slurm else contextlib.nullcontext() as slurm:
            soak_all(Soak(a, base, slurm), line)

    torture(body, {"name": "soak", "layouts": [4] if a.slurm else LAYOUTS})


if __name__ == "__main__":
    main()
