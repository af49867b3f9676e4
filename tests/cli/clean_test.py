#!/usr/bin/env python3
"""`dmoerm clean`, and the checks of memory and disk at the start of a run and in a plan.

Usage: clean_test.py PROGRAM LIBRARY [unittest arguments]. LIBRARY is tests/support/refusing_system.cpp, built.
"""
import fcntl
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.abspath(sys.argv.pop(2)) if len(sys.argv) > 2 else ""
import bad_input_test  # noqa: E402


class Clean(bad_input_test.Tiny):
    def setUp(self):
        super().setUp()
        result = self.run_it()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.run_dir = self.path("runs", "tiny")

    def files(self):
        return {os.path.relpath(os.path.join(d, f), self.run_dir) for d, _, names in os.walk(self.run_dir) for f in names}

    def put(self, name, days=0):
        path = os.path.join(self.run_dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write("x" * 2000)
        os.utime(path, (time.time() - 86400 * days,) * 2)
        return name

    def test_frees_what_is_not_needed_and_nothing_else(self):
        before = self.files()
        freed = {self.put("base/chat/checkpoint-00000002.safetensors"), self.put("router/parts/train-0.safetensors"), self.put("report/report.md.tmp-other-host-77", 2),
                 self.put("metrics.jsonl.tmp-other-99", 2)}
        kept = {self.put("label/chat/tone/verdicts.jsonl.tmp-other-7", 2), self.put("mystore/LOCK"), self.put("mystore/journal.tmp-other-8", 2),
                self.put("expert/unfinished/checkpoint-00000002.safetensors"), self.put("bundle/new.tmp-other-9"), self.put("base/chat/notes.txt")}
        shown = self.dmoerm("clean", self.run_dir, "--dry-run")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(self.files(), before | freed | kept)
        self.assertIn("would be freed", shown.stdout)
        for name in freed:
            self.assertIn(name.replace("/train-0.safetensors", ""), shown.stdout)
        done = self.dmoerm("clean", self.run_dir)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files(), (before | kept) - {"hashes.json"})
        again = self.run_it()
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("damaged", again.stderr)

    def test_refuses_a_run_in_use_and_other_folders(self):
        with open(os.path.join(self.run_dir, "owner.json"), "w", encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.assert_refused(self.dmoerm("clean", self.run_dir), "[run-in-use]")
        self.assert_refused(self.dmoerm("clean", self.path("model")), "[not-a-run-directory]")


class Limits(bad_input_test.Tiny):
    def test_a_task_that_no_rank_has_the_memory_for_is_refused_at_the_start(self):
        self.assert_refused(self.run_it("cluster.memory_gib=0.00001"), "the largest device has 10 KiB", "cluster.memory_gib", "[task-exceeds-memory]")
        self.assertEqual(self.run_it("cluster.memory_gib=100").returncode, 0)

    def test_a_disk_that_cannot_hold_the_results_is_refused_at_the_start(self):
        environment = dict(os.environ, LD_PRELOAD=LIBRARY, REFUSE_FREE_ABOVE="4096", OMP_NUM_THREADS="1")
        with open(self.path("tiny.yaml"), "w", encoding="utf-8") as f:
            f.write(self.config)
        result = bad_input_test.subprocess.run([bad_input_test.PROGRAM, "run", "--config", self.path("tiny.yaml")], capture_output=True, text=True, env=environment, check=False)
        self.assert_refused(result, "iB of results", "KiB are free", "[disk-too-small]")
        self.assertNotIn(" 0 MiB", result.stderr)

    def test_a_plan_says_what_will_be_written(self):
        with open(self.path("tiny.yaml"), "w", encoding="utf-8") as f:
            f.write(self.config)
        result = self.dmoerm("plan", "--config", self.path("tiny.yaml"), "--ranks", "2", "--groups-per-category", "1000", "--tokens-per-group", "50")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("GiB of results", result.stdout)
        self.assertIn("are free in", result.stdout)


if __name__ == "__main__":
    bad_input_test.PROGRAM = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
