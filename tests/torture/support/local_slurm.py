"""The four-node Slurm of cluster/local-slurm, as a test uses it."""
import fcntl
import os
import re
import subprocess
import time

ROOT = os.environ["DMOERM_ROOT"]
FOLDER = f"{ROOT}/cluster/local-slurm"
# States of a job that will not run again by itself.
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY"}


class LocalSlurm:
    """Runs while the object is used with `with`."""

    def __enter__(self):
        self._lock = open("/tmp/dmoerm-local-slurm.lock", "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # one at a time on a machine
        up = subprocess.run([f"{FOLDER}/up.sh"], stdout=subprocess.DEVNULL)
        if up.returncode != 0:
            raise SystemExit(up.returncode)
        for line in subprocess.run([f"{FOLDER}/env.sh"], check=True, capture_output=True, text=True).stdout.splitlines():
            name, value = re.fullmatch(r"export (\w+)=(.*)", line).groups()
            os.environ[name] = value
        return self

    def __exit__(self, *_):
        subprocess.run([f"{FOLDER}/down.sh"], check=False)
        self._lock.close()

    def submit(self, script, arguments, options=(), environment=None):
        """Returns the job's id."""
        done = subprocess.run(["sbatch", "--parsable", *options, script, *arguments], check=True, capture_output=True, text=True, env=dict(os.environ, **(environment or {})))
        return done.stdout.strip().split(";")[0]

    def job(self, number):
        """What Slurm reports about a job: JobState, Restarts, ExitCode, NodeList, BatchHost, ..."""
        for _ in range(20):  # the controller may be busy with a lost node
            text = subprocess.run(["scontrol", "--oneliner", "show", "job", number], capture_output=True, text=True).stdout
            if "JobState=" in text:
                return dict(word.split("=", 1) for word in text.split() if "=" in word)
            time.sleep(0.5)
        raise OSError(f"scontrol does not know job {number}")

    def wait(self, number, reached, limit_s):
        """Wait until reached(job). @return the job, or None after limit_s seconds"""
        deadline = time.time() + limit_s
        while time.time() < deadline:
            job = self.job(number)
            if reached(job):
                return job
            time.sleep(0.2)
        return None

    def wait_running(self, number, limit_s=120):
        return self.wait(number, lambda job: job["JobState"] == "RUNNING" or job["JobState"] in ENDED, limit_s)

    def wait_ended(self, number, limit_s):
        return self.wait(number, lambda job: job["JobState"] in ENDED, limit_s)

    def wait_node_down(self, node, limit_s):
        """Wait until Slurm has noticed that a node is lost."""
        deadline = time.time() + limit_s
        while time.time() < deadline:
            shown = subprocess.run(["scontrol", "--oneliner", "show", "node", node], capture_output=True, text=True).stdout
            if "State=DOWN" in shown:
                return
            time.sleep(0.5)
        raise OSError(f"Slurm has not noticed within {limit_s} s that {node} is gone")

    def command(self, *words):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    def power(self, position, node):
        self.command(f"{FOLDER}/power.sh", position, node)
