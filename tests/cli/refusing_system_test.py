#!/usr/bin/env python3
"""The program on a system that refuses locks, threads or space: it works where it can, and says once and clearly why where it cannot.

Usage: refusing_system_test.py PROGRAM LIBRARY [unittest arguments]. LIBRARY is tests/support/refusing_system.cpp, built.
"""
import errno
import os
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.abspath(sys.argv.pop(2)) if len(sys.argv) > 2 else ""
import bad_input_test  # noqa: E402

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
LABELS = """labels:
  store: {root}/labels
  judges:
    - model: free
      endpoints: [{{url: "http://127.0.0.1:9/v1"}}]
"""


class RefusingSystem(bad_input_test.Tiny):
    def setUp(self):
        super().setUp()
        judge = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "configs", "judge")
        shutil.copytree(judge, self.path("judge"))
        with open(self.path("judge", "points-en.yaml"), "w", encoding="utf-8") as f:
            f.write("language: en\ncategories:\n  chat:\n    tone: The better response has the better tone.\n    fact: The better response has the better facts.\n")

    def write_config(self):
        with open(self.path("tiny.yaml"), "w", encoding="utf-8") as f:
            f.write(self.config)

    def environment(self, **variables):
        return dict(os.environ, OMP_NUM_THREADS="1", LD_PRELOAD=LIBRARY, DMOERM_JUDGE_DIR=self.path("judge"), **{k: str(v) for k, v in variables.items()})

    def refused(self, command, **variables):
        self.write_config()
        return subprocess.run([bad_input_test.PROGRAM, *command, "--config", self.path("tiny.yaml")], capture_output=True, text=True, timeout=120, env=self.environment(**variables), check=False)

    def test_a_run_needs_no_locks(self):
        for kind, number in [("REFUSE_FLOCK", n) for n in WITHOUT_LOCKS] + [("REFUSE_RECORDS", errno.ENOLCK)]:
            with self.subTest(kind=kind, number=number):
                result = self.refused(["run", "--set", f"name={kind}-{number}"], **{kind: number})
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(result.stderr.count("has no file locks"), 1 if kind == "REFUSE_FLOCK" else 0, result.stderr)

    def test_a_label_store_without_locks_is_refused_once_and_says_where_to_put_it(self):
        self.config += LABELS.format(root=self.root)
        for number in WITHOUT_LOCKS:
            result = self.refused(["label"], REFUSE_FLOCK=number)
            self.assert_refused(result, "has no file locks", "labels.store", "[label-store-no-locks]")
            self.assertEqual(result.stderr.count("has no file locks"), 1, result.stderr)

    def test_labels_are_stored_where_only_sqlite_has_no_locks(self):
        self.config += LABELS.format(root=self.root)
        self.write_config()
        command = [bad_input_test.PROGRAM, "label", "--config", self.path("tiny.yaml")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment(REFUSE_RECORDS=errno.ENOLCK))
        for _ in range(600):  # the judge does not answer, so it waits once the store is open
            if process.poll() is not None or os.path.exists(self.path("labels", "journal.sqlite-wal")):
                break
            time.sleep(0.1)
        process.terminate()
        said = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 3, said)
        self.assertIn("[stopped-on-request]\n", said)
        self.assertNotIn("journal", said)

    def test_a_run_needs_no_flush_to_the_disk_and_says_once_what_that_means(self):
        for number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            result = self.refused(["run", "--set", f"name=flush-{number}"], REFUSE_FLUSH=number)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(result.stderr.count("cannot flush files to the disk"), 1, result.stderr)
        self.assert_refused(self.refused(["run", "--set", "name=flush-broken"], REFUSE_FLUSH=errno.EIO), "cannot flush to disk: Input/output error", "[cannot-write-file]")

    def test_labels_are_refused_where_they_cannot_be_flushed(self):
        self.config += LABELS.format(root=self.root)
        self.assert_refused(self.refused(["label"], REFUSE_FLUSH=errno.EINVAL), "labels.store", "[label-store-cannot-flush]")

    def test_a_file_that_is_too_large_for_the_user_is_an_error_and_no_signal(self):
        self.write_config()
        command = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", bad_input_test.PROGRAM, "run", "--config", self.path("tiny.yaml")]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("ulimit -f", result.stderr)

    def test_nothing_is_printed_into_files_where_the_standard_streams_are_closed(self):
        self.write_config()
        command = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", bad_input_test.PROGRAM, "run", "--config", self.path("tiny.yaml")]
        self.assertEqual(subprocess.run(command, timeout=120, check=False).returncode, 0)
        for folder, _, files in os.walk(self.path("runs")):
            for name in files:
                with open(os.path.join(folder, name), "rb") as f:
                    self.assertNotIn(b"[run] task=", f.read(), os.path.join(folder, name))
        command[2] = '"$@" >&-'
        result = subprocess.run(command[:5] + ["inspect", "config", "--reference"], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("[standard-output-failed]", result.stderr)

    def test_each_number_of_threads_ends_with_a_clear_message(self):
        for threads in range(8):
            result = self.refused(["run", "--set", f"name=threads-{threads}"], REFUSE_THREADS=threads)
            said = result.stdout + result.stderr
            for bad in ("terminate called", "internal error"):
                self.assertNotIn(bad, said, f"{threads} threads")
            if result.returncode == 0:
                continue
            self.assertIn(result.returncode, (1, 2), f"{threads} threads: {said}")
            self.assertIn("cannot start", said, f"{threads} threads")
            self.assertIn("ulimit -u", said, f"{threads} threads")


if __name__ == "__main__":
    bad_input_test.PROGRAM = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
