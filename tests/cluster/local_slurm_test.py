#!/usr/bin/env python3
"""launch/slurm/dmoerm.sbatch handles every way in which a run can end, on the four-node Slurm of cluster/local-slurm. Takes a minute, needs root, trains nothing.

In the place of the program stands a shell script that ends as it is told. Ends with code 77, which ctest shows as skipped, where Slurm is not installed.
Usage: local_slurm_test.py [PROGRAM]: with the built program also `slurm --submit`.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ["DMOERM_ROOT"] = ROOT
sys.path.insert(0, f"{ROOT}/tests/torture")
from support.local_slurm import LocalSlurm  # noqa: E402

SCRIPT = f"{ROOT}/launch/slurm/dmoerm.sbatch"
PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
# end CODE · until-told FILE: saves when it is told, is done when it finds what it saved · say WORDS
STAND_IN = """#!/usr/bin/env bash
case $1 in
  end) exit "$2" ;;
  until-told)
    [ -e "$2" ] && exit 0
    trap 'sleep 0.5; touch "$2.saving"; mv "$2.saving" "$2" 2>/dev/null; exit 3' USR2 TERM
    echo waiting >&2
    for _ in $(seq 600); do sleep 0.1; done
    ;;
  *) echo "said: $*" >&2 ;;
esac
"""
LIMIT_S = 60


class JobScript(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.mkdtemp(prefix="dmoerm_slurm_")
        self.addCleanup(shutil.rmtree, self.place)
        os.makedirs(f"{self.place}/launch/slurm")
        with open(f"{self.place}/launch/dmoerm", "w") as f:
            f.write(STAND_IN)
        os.chmod(f"{self.place}/launch/dmoerm", 0o755)
        shutil.copy(SCRIPT, f"{self.place}/launch/slurm/")
        self.log = f"{self.place}/log"

    def submit(self, *arguments, options=(), **environment):
        return SLURM.submit(SCRIPT, arguments, ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", f"--output={self.log}", f"--chdir={self.place}", *options],
                            {"DMOERM_ROOT": self.place, **environment})

    def text(self):
        with open(self.log) as f:
            return f.read()

    def assert_ends(self, job, state, code, restarts, *texts):
        ended = SLURM.wait_ended(job, LIMIT_S)
        self.assertIsNotNone(ended, "the job hangs")
        self.assertEqual((ended["JobState"], ended["ExitCode"], ended["Restarts"]), (state, f"{code}:0", str(restarts)), self.text())
        for text in texts:
            self.assertIn(text, self.text())

    def wait_said(self, word):
        self.assertIsNotNone(SLURM.wait(self.job, lambda _: os.path.exists(self.log) and word in self.text(), LIMIT_S), word)

    def test_ends_that_nobody_queues_again(self):
        done, refused, stopped, unknown = (self.submit("end", code, options=[f"--output={self.log}-%j"]) for code in ("0", "2", "3", "9"))
        wrong = self.submit("end", "0", options=[f"--output={self.log}-%j"], DMOERM_START="torchrun")
        for job, state, code, text in ((done, "COMPLETED", 0, "done"), (refused, "FAILED", 2, "refused, or a task failed"), (stopped, "FAILED", 3, "stopped and saved"),
                                       (unknown, "FAILED", 1, "a rank was lost (exit code 9"), (wrong, "FAILED", 2, "unknown start 'torchrun'; known: srun, mpirun")):
            self.log = f"{self.place}/log-{job}"
            self.assert_ends(job, state, code, 0, text)

    def test_told_ahead_twice_it_saves_once_and_is_queued_again(self):
        self.job = self.submit("until-told", f"{self.place}/saved")
        self.wait_said("waiting")
        for signal in ("USR2", "USR2", "USR1"):
            SLURM.command("scancel", "--batch", f"--signal={signal}", self.job)
        self.assert_ends(self.job, "COMPLETED", 0, 1, "the end is near (USR2): saving", "saved; queued again", "start 2: done")

    def test_usr1_tells_ahead_too(self):
        self.job = self.submit("until-told", f"{self.place}/saved")
        self.wait_said("waiting")
        SLURM.command("scancel", "--batch", "--signal=USR1", self.job)
        self.assert_ends(self.job, "COMPLETED", 0, 1, "the end is near (USR1): saving", "saved; queued again", "start 2: done")

    def test_told_ahead_it_stays_away_where_that_is_asked_for(self):
        self.job = self.submit("until-told", f"{self.place}/saved", DMOERM_REQUEUE="no")
        self.wait_said("waiting")
        SLURM.command("scancel", "--batch", "--signal=USR2", self.job)
        self.assert_ends(self.job, "FAILED", 3, 0, "not queued again (slurm.requeue is off)")

    def test_cancelled_it_saves_and_does_not_come_back(self):
        self.job = self.submit("until-told", f"{self.place}/saved")
        self.wait_said("waiting")
        SLURM.command("scancel", self.job)
        ended = SLURM.wait_ended(self.job, LIMIT_S)
        self.assertEqual((ended["JobState"], ended["Restarts"]), ("CANCELLED", "0"))
        self.wait_said("stopped and saved")
        self.assertTrue(os.path.exists(f"{self.place}/saved"))

    def test_tasks_of_an_array_know_their_numbers(self):
        job = self.submit("say", "seed=@TASK@", "a b", options=["--array=3,5", f"--output={self.log}-%a", "--nodes=1"])
        for task in ("3", "5"):
            self.log = f"{self.place}/log-{task}"
            self.assert_ends(f"{job}_{task}", "COMPLETED", 0, 0, f"said: say seed={task} a b")

    @unittest.skipUnless(PROGRAM, "no program given")
    def test_the_script_of_a_configuration_is_submitted(self):
        for name in ("model/config.json", "rows.jsonl"):
            os.makedirs(os.path.dirname(f"{self.place}/{name}"), exist_ok=True)
            open(f"{self.place}/{name}", "w").close()
        with open(f"{self.place}/it's mine.yaml", "w") as f:
            f.write("name: small\nruns_dir: its runs\nbackbone: {dir: model}\ndata: {inputs: [{path: rows.jsonl}]}\ncategories: [{name: chat, points: [tone]}]\n"
                    "slurm: {nodes: 2, ranks_per_node: 2, cpus_per_rank: 1, memory: 100M, time: \"5:00\", setup: [export GREETING=hello], options: [--exclusive]}\n")
        done = subprocess.run([PROGRAM, "slurm", "--config", "it's mine.yaml", "--set", "seed=7", "--submit"], cwd=self.place, capture_output=True, text=True,
                              env=dict(os.environ, DMOERM_ROOT=self.place))
        self.assertEqual(done.returncode, 0, done.stderr)
        job = done.stdout.split("submitted: job ")[1].split()[0]
        self.log = f"{self.place}/its runs/small/slurm/{job}.log"
        self.assert_ends(job, "COMPLETED", 0, 0, "4 ranks on n[1-2]", f"said: run --config {self.place}/it's mine.yaml --set seed=7")


if __name__ == "__main__":
    with LocalSlurm() as SLURM:
        result = unittest.main(argv=sys.argv[:1] + sys.argv[2:], exit=False).result
    sys.exit(not result.wasSuccessful())
