#!/usr/bin/env python3
"""Runs `dmoerm evidence` in a folder that is not there yet, with a tiny model of two layers, and again with other data and the
configuration that `dmoerm inspect data` derives from them; and whole runs over its draws.

Usage: evidence_test.py PROGRAM"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
import tiny_model  # noqa: E402

PROGRAM = sys.argv.pop(1)


class Evidence(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        tiny_model.write_model(os.path.join(self.folder, "model"))
        self.configure("c.yaml", "rows.jsonl")

    def configure(self, name, data):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            json.dump({"name": "e", "backbone": {"dir": "model", "chat_template": "dmoerm"}, "compute": {"device": "cpu", "micro_batch_tokens": 256},
                       "data": {"inputs": [{"path": data}], "max_length": 96, "min_prompt_tokens": 8},
                       "categories": [{"name": "chat", "points": ["tone"], "score_gap_min": 1}]}, file)

    def rows(self, count, documents=1):
        with open(os.path.join(self.folder, "rows.jsonl"), "w", encoding="utf-8") as file:
            for i in range(count):
                responses = [{"text": f"{word} {i % 9}", "overall": k, "overall_raters": [k, 2 * k, 1], "scores": {"tone": k}} for k, word in enumerate(("poor", "fair", "good"))]
                file.write(json.dumps({"id": str(i), "category": "chat", "split": "train", "document": i % documents, "prompt": f"say {i} words", "responses": responses}) + "\n")

    def own_rows(self):
        """Two categories, one of rows that name none, with other points than those of rows(), of which one has few labels."""
        with open(os.path.join(self.folder, "own.jsonl"), "w", encoding="utf-8") as file:
            for i in range(50):
                responses = [{"text": f"{word} {i % 9}", "overall": k, "overall_raters": [k, 2 * k, 1], "scores": {"warmth": 2 * k, "depth": k % 2}} for k, word in enumerate(("poor", "fair", "good"))]
                if i < 6:
                    responses[0]["scores"]["rare"], responses[1]["scores"]["rare"] = 1, 2
                file.write(json.dumps({"split": "train", "prompt": f"tell {i} words", "responses": responses, **({"category": "advice"} if i % 2 else {})}) + "\n")

    def derive(self):
        """Makes c.yaml what is derived of own.jsonl, with the tiny model."""
        self.own_rows()
        said = self.program("inspect", "data", "own.jsonl", "--evidence", "--out", "own.yaml").stdout
        self.assertIn("odd: advice: rare: 3 prompts", said)
        refused = subprocess.run([PROGRAM, "inspect", "data", "own.jsonl", "--out", "own.yaml"], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertIn("[output-exists]", refused.stderr)
        with open(os.path.join(self.folder, "own.yaml"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text.count("points: [depth, warmth, first_rater]"), 2, text)
        for usual, tiny in (("${DMOERM_MODELS}/smollm2-135m-instruct", "model"), ("chatml", "dmoerm"), ("max_length: 512", "max_length: 96"), ("min_prompt_tokens: 64", "min_prompt_tokens: 8")):
            self.assertIn(usual, text)
            text = text.replace(usual, tiny)
        with open(os.path.join(self.folder, "c.yaml"), "w", encoding="utf-8") as file:
            file.write(text)

    def program(self, *options):
        done = subprocess.run([PROGRAM, *options], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def evidence(self, verb, *options):
        return self.program("evidence", verb, "--config", "c.yaml", "--out", "out", *options)

    def tables(self):
        self.evidence("states")
        self.evidence("cells", "--regimes", "20-none", "--components", "4", "--seeds", "1", "--inner")
        return self.evidence("tables", "--primary", "20-none", "--contrast", "stack:stack_split", "--contrast", "20-none/inner:own").stdout

    def test_a_fresh_folder_and_then_other_data(self):
        self.rows(30)
        first = self.tables()
        self.assertIn("chat (30)", first)
        self.assertEqual(len(json.loads(first.splitlines()[-1])["minus_single"]), 3)
        self.assertEqual(json.loads(first.splitlines()[-1])["categories"], ["chat"])
        self.assertIn("inner layer only", first)
        with open(os.path.join(self.folder, "out", "figures.json"), encoding="utf-8") as file:
            figures = json.load(file)
        self.assertEqual(sorted(figures["contrasts"]), ["20-none/inner:own", "20-none/stack:stack_split"])
        self.assertEqual(figures["noise_ceiling"]["chat"]["overall"]["without_ties"], {"share": 1.0, "prompts": 30, "pairs": 90})
        refused = subprocess.run([PROGRAM, "evidence", "tables", "--config", "c.yaml", "--out", "out", "--primary", "20-none", "--contrast", "stack:none"], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertIn("unknown-arm", refused.stderr)
        self.derive()
        own = self.tables()
        self.assertIn("advice (25)", own)
        self.assertIn("default (25)", own)

    def test_wrong_options_are_refused_before_anything_is_read(self):
        for verb, option, value, code in (("tables", "--contrast", "a", "not-a-contrast"), ("tables", "--contrast", "stack:ownn", "unknown-arm"),
                                          ("tables", "--contrast", "20-ratr/stack:own", "unknown-regime"), ("cells", "--regimes", "80-noisy", "unknown-regime"),
                                          ("cells", "--groups", "few", "not-a-number-of-groups"), ("states", "--groups", "chat=few", "not-a-number-of-groups")):
            refused = subprocess.run([PROGRAM, "evidence", verb, "--config", "c.yaml", "--out", "out", option, value], cwd=self.folder, capture_output=True, text=True, check=False)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn(f"{option} {value}: ", refused.stderr)
            self.assertIn(f"[{code}]", refused.stderr)

    def test_contrasts_of_planned_cells_are_checked_before_these_are_computed(self):
        tables = [PROGRAM, "evidence", "tables", "--config", "c.yaml", "--out", "out", "--planned", "80-rater,20-none", "--contrast"]
        refused = subprocess.run([*tables, "20-rater/stack:own"], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("--contrast 20-rater/stack:own: the regime 20-rater has no cells of all folds, did you mean 80-rater?; there are those of 80-rater, 20-none", refused.stderr)
        os.makedirs(os.path.join(self.folder, "out", "cells", "20-rater"))
        for contrast in ("20-rater/stack:own", "stack:own"):
            self.assertEqual(subprocess.run([*tables, contrast], cwd=self.folder, capture_output=True, text=True, check=True).stdout, "")

    def test_rows_of_one_document_are_in_one_fold(self):
        self.rows(30, documents=10)
        self.evidence("states")
        self.evidence("cells", "--regimes", "20-none", "--components", "4", "--seeds", "1", "--cluster", "document")
        cluster_of = {}
        for fold in range(5):
            with open(os.path.join(self.folder, "out", "cells", "20-none", f"category-chat-{fold}.json"), encoding="utf-8") as file:
                for group in json.load(file)["groups"]:
                    self.assertEqual(cluster_of.setdefault(int(group["id"]) % 10, (fold, group["cluster"])), (fold, group["cluster"]))
        self.assertEqual(len(set(cluster_of.values())), 10)
        for verb, options, said in (("cells", ["--cluster", "session"], "[row-without-cluster]"), ("data", ["--cluster", "session"], "[row-without-cluster]"),
                                    ("cells", ["--cluster", "document", "--block-lines", "2"], "excludes")):
            refused = subprocess.run([PROGRAM, "evidence", verb, "--config", "c.yaml", "--out", "out", *options], cwd=self.folder, capture_output=True, text=True, check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(said, refused.stderr)

    def test_what_cannot_be_tested_is_refused_before_states_are_computed(self):
        self.rows(30, documents=1)
        for options, code in ((["--cluster", "session"], "[row-without-cluster]"), (["--cluster", "document"], "[no-category-can-be-tested]"),
                              (["--block-lines", "30"], "[no-category-can-be-tested]")):
            refused = subprocess.run([PROGRAM, "evidence", "states", "--config", "c.yaml", "--out", "out", *options], cwd=self.folder, capture_output=True, text=True, check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(code, refused.stderr)
            self.assertFalse(os.path.exists(os.path.join(self.folder, "out", "states.json")))

    def test_runs_over_draws_are_a_table(self):
        self.rows(60)
        said = self.evidence("data", "--regime", "20-none", "--draws", "2", "--trained", "40", "--tested", "10").stdout
        self.assertIn("to test", said)
        for draw in ("17", "18"):
            self.configure("run.yaml", f"out/draws/{draw}/data.jsonl")
            self.program("run", "--config", "run.yaml", "--set", f"name={draw}", "--set", f"seed={draw}", "--set", "base.tuning=lora", "--set", "pooled_baseline=true")
        printed = self.evidence("tables", "--runs", "runs/17", "runs/18").stdout
        refused = subprocess.run([PROGRAM, "evidence", "tables", "--config", "c.yaml", "--out", "out", "--runs", "runs/17", "runs/17"], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertIn("run-given-twice", refused.stderr)
        self.evidence("data", "--regime", "all-none", "--draws", "1", "--trained", "40", "--tested", "10")
        refused = subprocess.run([PROGRAM, "evidence", "tables", "--config", "c.yaml", "--out", "out", "--runs", "runs/17"], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertIn("its data are none of the 1 draws", refused.stderr)
        self.assertIn("chat (10)", printed)
        self.assertEqual(len(json.loads(printed.splitlines()[-1])["minus_pooled"]), 3)


if __name__ == "__main__":
    unittest.main()
