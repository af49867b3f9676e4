"""Jobs under Slurm that are preempted, requeued, cancelled or lose a node end with the bits of an undisturbed one.

Four Slurm nodes on this machine (cluster/local-slurm; as root). configs/small/same_bits.yaml is run undisturbed with both start variants of
launch/slurm/dmoerm.sbatch, then once for each disturbance and start, struck at a random moment. Every trained tensor and every number of the
report must be the same in all of them. Ends with one JSON line, also when a case fails.
"""
import argparse
import os
import random
import subprocess
import time

from support.local_slurm import LocalSlurm
from support.torture import torture
from support.trained_bits import CONFIG, ROOT, differences, fingerprint, make_data, tasks_done

SCRIPT = f"{ROOT}/launch/slurm/dmoerm.sbatch"
STARTS = ["srun", "mpirun"]
LIMIT_S = 900  # limit of one case


class Case:
    """One run of the small configuration as a job."""

    def __init__(self, slurm, base, name, start, options=()):
        self.slurm, self.name, self.directory, self.log = slurm, name, f"{base}/{name}", f"{base}/{name}.log"
        self._submit = lambda: slurm.submit(
            SCRIPT, ["run", "--config", CONFIG, "--set", f"name={name}", "--set", f"runs_dir={base}"],
            ["--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1", f"--output={self.log}", f"--chdir={base}", *options],
            {"DMOERM_DATA": f"{base}/data", "DMOERM_START": start})
        self.jobs = [self._submit()]

    @property
    def job(self):
        return self.jobs[-1]

    def submit_again(self):
        self.jobs.append(self._submit())

    def strike_moment(self, rng):
        """Wait until a random number of tasks is done, and some seconds more."""
        share, deadline = rng.uniform(0, 0.6), time.time() + LIMIT_S
        while tasks_done(self.directory) < 1 + share * 12 and time.time() < deadline:
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 1))

    def unfinished(self):
        return not os.path.exists(f"{self.directory}/bundle/dmoerm.json")


def preempt(case, rng):
    """A more urgent job takes all nodes."""
    case.strike_moment(rng)
    cut = case.unfinished()
    case.slurm.command("sbatch", "--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    return cut


def requeue(case, rng):
    """The administrator queues the job again."""
    case.strike_moment(rng)
    cut = case.unfinished()
    case.slurm.command("scontrol", "requeue", case.job)
    return cut


def cancel(case, rng):
    """The user cancels the job, and submits it again. It must not start again by itself in between."""
    case.strike_moment(rng)
    cut = case.unfinished()
    case.slurm.command("scancel", case.job)
    job = case.slurm.wait_ended(case.job, 120)
    if job is None or (cut and job["JobState"] != "CANCELLED"):
        raise SystemExit(f"{case.name}: after scancel the job is {job and job['JobState']}")
    time.sleep(3)
    if case.slurm.job(case.job)["JobState"] != job["JobState"]:
        raise SystemExit(f"{case.name}: the job came back after scancel")
    case.submit_again()
    return cut


def time_limit(case, rng):
    """The job reaches its own limit of a minute, and Slurm ends it."""
    del rng
    case.slurm.wait(case.job, lambda job: int(job["Restarts"]) > 0 or job["JobState"] == "COMPLETED", 300)
    return True


def power_cut(case, rng, victim):
    """A node loses its power; victim: the node with the job script, or another one."""
    case.strike_moment(rng)
    cut = case.unfinished()
    job = case.slurm.job(case.job)
    nodes = subprocess.run(["scontrol", "show", "hostnames", job["NodeList"]], check=True, capture_output=True, text=True).stdout.split()
    node = job["BatchHost"] if victim == "first" else next(n for n in nodes if n != job["BatchHost"])
    case.slurm.power("off", node)
    case.slurm.wait_node_down(node, 120)
    case.slurm.power("on", node)
    return cut


DISTURBANCES = {
    "preempt": preempt,
    "requeue": requeue,
    "cancel": cancel,
    "time-limit": time_limit,
    "power-cut": lambda case, rng: power_cut(case, rng, "other"),
    "power-cut-first": lambda case, rng: power_cut(case, rng, "first"),
}


def disturb_all(a, base, line):
    rng = random.Random(a.seed)
    make_data(f"{base}/data")
    with LocalSlurm() as slurm:
        reference = None
        for start in STARTS:
            case = Case(slurm, base, f"undisturbed-{start}", start)
            slurm.wait_running(case.job)
            began = time.time()
            job = slurm.wait_ended(case.job, LIMIT_S)
            found = fingerprint(case.directory)
            reference = reference or found
            fine = job is not None and job["JobState"] == "COMPLETED" and len(found) > 5 and found == reference
            line["cases"] += 1
            line["different"] += not fine
            line["hung"] += job is None
            print(f"{case.name}: {job and job['JobState']}, {len(found)} files, {'same' if fine else 'DIFFERENT'} ({time.time() - began:.0f} s)", flush=True)
            if not fine:
                raise SystemExit(f"the undisturbed run failed: see {case.log}")
        for number in range(a.runs):
            for kind in a.only or DISTURBANCES:
                for start in STARTS:
                    case = Case(slurm, base, f"{kind}-{start}-{number}", start, ["--time=1", "--signal=B:USR2@40"] if kind == "time-limit" else [])
                    cut = DISTURBANCES[kind](case, rng)
                    job = slurm.wait_ended(case.job, LIMIT_S)
                    if job is None:
                        slurm.command("scancel", case.job)
                    wrong = differences(fingerprint(case.directory), reference)
                    ended = job is not None and job["JobState"] == "COMPLETED" and job["ExitCode"] == "0:0"
                    # A disturbance after the end of the run tests nothing.
                    struck = not cut or len(case.jobs) > 1 or int(job["Restarts"] if job else 1) > 0
                    fine = ended and struck and not wrong
                    line["cases"] += 1
                    line["missed"] += not cut
                    line["different"] += not fine
                    line["hung"] += job is None
                    print(f"{case.name}: {job and job['JobState']} after {job and job['Restarts']} requeues, {len(case.jobs)} jobs{'' if cut else ', struck too late'}, "
                          f"{'same' if fine else 'DIFFERENT: ' + ', '.join(wrong[:5] or ['not disturbed or not ended, see ' + case.log])}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="Number of runs with each disturbance and each start")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=DISTURBANCES, help="Run only this disturbance; may be repeated")
    a = parser.parse_args()
    torture(lambda base, line: disturb_all(a, base, line), {"name": "slurm", "nodes": 4, "cases": 0, "missed": 0, "different": 0, "hung": 0})


if __name__ == "__main__":
    main()
