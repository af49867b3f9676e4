#!/usr/bin/env python3
"""dmoerm report and compare on made-up runs: the page of 27 experts is small and complete, the card is one that the Hub's own package reads,
runs are compared on the groups that they share. dmoerm explain: every code of the document, and the nearest ones of a misspelt code.

Usage: report_run_test.py PROGRAM"""
import html.parser
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fabricated_run import fabricate  # noqa: E402

PROGRAM = None
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VOID = {"meta", "br", "hr", "img", "input", "link"}


def dmoerm(*arguments, code=0, home=None):
    env = dict(os.environ, DMOERM_HOME=home or "/nonexistent")
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Nesting(html.parser.HTMLParser):
    """Every element is closed where it was opened, and ids are unique."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.problems = [], set(), []
        self.feed(text)
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        name = dict(attrs).get("id")
        if name in self.ids:
            self.problems.append(f"id {name} twice")
        if name:
            self.ids.add(name)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes another element")


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.run_path = os.path.join(cls.scratch.name, "many")
        cls.names = fabricate(cls.run_path, categories=9, points=3, groups=60, steps=100)
        cls.home = os.path.join(cls.scratch.name, "home")
        os.makedirs(os.path.join(cls.home, "charts"))
        with open(os.path.join(cls.home, "charts", "dygraph-combined.js"), "w", encoding="utf-8") as f:
            f.write("/* the chart library */")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def path(self, *parts):
        return os.path.join(self.scratch.name, *parts)

    def page(self, *options, home=None):
        out = self.path("page.html")
        said = dmoerm("report", self.run_path, "--out", out, *options, home=home)
        with open(out, encoding="utf-8") as f:
            return f.read(), said

    def test_page_of_27_experts_is_whole_and_small(self):
        text, said = self.page(home=self.home)
        self.assertLess(len(text), 10e6)
        self.assertEqual(Nesting(text).problems, [])
        self.assertIn("The mixture is better than the single model", said)
        for part in [*self.names, "point_i3", "/* the chart library */", "Timeline of the ranks", "the response is empty", "6.96 USD"]:
            self.assertIn(part, text)
        self.assertNotIn("do not have the form", text)
        self.assertNotIn('class="note">The run has not', text)
        data = json.loads(re.search(r'id="curve-data">(.*?)</script>', text, re.S).group(1))
        self.assertEqual([g["name"] for g in data["groups"]], [*self.names, "single model"])
        self.assertEqual(len(data["groups"][0]["runs"]), 5)

    def test_page_without_the_library_has_the_curves_all_the_same(self):
        for options, home in (([], None), (["--no-script"], self.home)):
            text, said = self.page(*options, home=home)
            self.assertNotIn("<script", text)
            self.assertIn('aria-label="Learning curves of category_a"', text)
            self.assertEqual("not installed" in said, home is None)

    def test_the_same_run_gives_the_same_page(self):
        self.assertEqual(self.page()[0], self.page()[0])

    def test_card_is_read_by_the_hub(self):
        self.page("--license", "apache-2.0")
        try:
            from huggingface_hub import ModelCard
        except ImportError:
            self.skipTest("huggingface_hub is not installed")
        card = ModelCard.load(self.path("MODEL_CARD.md"))
        self.assertEqual(card.data.license, "apache-2.0")
        self.assertEqual(card.data.base_model, "HuggingFaceTB/SmolLM2-135M-Instruct")
        self.assertEqual(card.data.pipeline_tag, "text-classification")
        self.assertEqual(len(card.data.eval_results), 10)
        self.assertTrue(all(0.5 < r.metric_value < 1 for r in card.data.eval_results))

    def test_runs_are_compared_on_shared_groups(self):
        fabricate(self.path("a"), categories=2, points=1, groups=80, steps=20, seed=1)
        fabricate(self.path("b"), categories=2, points=1, groups=60, steps=20, seed=2)
        said = dmoerm("compare", self.path("a"), self.path("b"), "--out", self.path("both.html"))
        self.assertIn("the 120 test groups that both have (of 120 and 160)", said)
        self.assertRegex(said, r"\| seed +\| 1 +\| 2 +\|")
        self.assertNotIn("base.lr", said)
        with open(self.path("both.html"), encoding="utf-8") as f:
            self.assertEqual(Nesting(f.read()).problems, [])

    def test_refusals(self):
        self.assertIn("no-such-run", dmoerm("report", self.path("nothing"), code=2))
        self.assertIn("output-is-another-file", dmoerm("report", self.run_path, "--out", self.scratch.name, code=2))


class Explanations(unittest.TestCase):
    def test_every_code_of_the_document(self):
        with open(os.path.join(ROOT, "docs", "errors.md"), encoding="utf-8") as f:
            codes = re.findall(r"^\| `([a-z0-9-]+)` \|", f.read().partition("## Retired codes")[0], re.M)
        listed = [line.split()[0] for line in dmoerm("explain", "--list").splitlines()]
        self.assertEqual(listed, codes)
        said = dmoerm("explain", "[unknown-key]")
        self.assertIn("What to do:", said)

    def test_misspelt_code(self):
        said = dmoerm("explain", "unknwon-key", code=2)
        self.assertIn("unknown-key", said)
        self.assertIn("no-code-given", dmoerm("explain", code=2))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
