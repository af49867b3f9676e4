#!/usr/bin/env python3
"""Opens what an earlier version of the program wrote (tests/golden/earlier): no label is paid for twice, and a bundle scores the same.

Usage: earlier_versions_test.py PROGRAM [unittest arguments].
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
WRITTEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "earlier")


class EarlierVersions(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dmoerm_earlier_")
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copytree(WRITTEN, self.folder, dirs_exist_ok=True)

    def dmoerm(self, *arguments):
        done = subprocess.run([PROGRAM, *arguments], cwd=self.folder, capture_output=True, text=True, check=False, env=dict(os.environ, OMP_NUM_THREADS="1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_no_label_is_paid_for_twice(self):
        table = self.dmoerm("label", "--config", "label.yaml", "--set", "runs_dir=runs", "--dry-run")
        total = next(line for line in table.splitlines() if line.startswith("| all "))
        self.assertEqual([cell.strip() for cell in total.split("|")[2:5]], ["10", "10", "0"], "requests, answered already, to ask")

    def test_the_label_store_is_whole_and_exported(self):
        self.assertIn("10 labels", self.dmoerm("label-store", "verify", "labels"))
        self.dmoerm("label-store", "export", "labels", "--out", "export.jsonl")
        with open(os.path.join(self.folder, "export.jsonl"), encoding="utf-8") as lines:
            self.assertEqual(len([json.loads(line) for line in lines]), 10)

    def test_a_bundle_scores_as_it_did(self):
        found = json.loads(self.dmoerm("score", "--bundle", "bundle", "--input", "question.jsonl"))
        with open(os.path.join(WRITTEN, "answer.jsonl"), encoding="utf-8") as file:
            wanted = json.load(file)
        self.assertEqual(found["scored_by"], wanted["scored_by"])
        for ours, theirs in zip(found["scores"], wanted["scores"], strict=True):
            self.assertAlmostEqual(ours, theirs, delta=1e-4)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
