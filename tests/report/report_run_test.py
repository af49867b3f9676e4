#!/usr/bin/env python3
"""dmoerm report and compare on made-up runs: the page of 27 experts is small and complete, the card is one that the Hub's own package reads,
runs are compared on the groups that they share. dmoerm explain: every code of the document, and the nearest ones of a misspelt code.

Usage: report_run_test.py PROGRAM"""
import glob
import html.parser
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "report"), os.path.join(TESTS, "support")]
import chromium  # noqa: E402
from fabricated_run import fabricate  # noqa: E402

PROGRAM = None
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VOID = {"meta", "br", "hr", "img", "input", "link"}
# Elements that end to the right of the window, but for those in boxes that scroll.
BEYOND_THE_WINDOW = ("[...document.querySelectorAll('body *')].filter(e => !e.parentElement.closest('.wide, pre') && "
                     "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))")


def dmoerm(*arguments, code=0, home=None):
    env = dict(os.environ, DMOERM_HOME=home or "/nonexistent")
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def wandb_records(path):
    """The records of W&B's log: pieces in blocks of 32 KiB, each with CRC-32, length and kind."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:7] == struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
    at, record = 7, b""
    while at < len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        crc, size, kind = struct.unpack("<IHB", data[at:at + 7])
        piece = data[at + 7:at + 7 + size]
        assert zlib.crc32(piece, zlib.crc32(bytes([kind]))) == crc, f"{path}: damaged at {at}"
        at, record = at + 7 + size, record + piece
        if kind in (1, 4):
            yield record
            record = b""
    assert record == b"", f"{path}: the last record is torn"


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
        self.assertEqual([g["name"] for g in data["groups"]], [*self.names, "all categories"])
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
        card = ModelCard.load(self.path("page-MODEL_CARD.md"))
        self.assertEqual(card.data.license, "apache-2.0")
        self.assertEqual(card.data.base_model, "HuggingFaceTB/SmolLM2-135M-Instruct")
        self.assertEqual(card.data.pipeline_tag, "text-classification")
        self.assertEqual(len(card.data.eval_results), 10)
        self.assertTrue(all(0.5 < r.metric_value < 1 for r in card.data.eval_results))

    def compared(self):
        """Two runs, as `compare` shows them: what it prints; the page is both.html."""
        fabricate(self.path("a"), categories=2, points=1, groups=80, steps=20, seed=1)
        fabricate(self.path("b"), categories=2, points=1, groups=60, steps=20, seed=2)
        return dmoerm("compare", self.path("a"), self.path("b"), "--out", self.path("both.html"))

    def test_runs_are_compared_by_their_curves(self):
        self.compared()
        with open(self.path("both.html"), encoding="utf-8") as f:
            text = f.read()
        charts = dict(re.findall(r'aria-label="Learning curves of the ([^"]*)"(.*?)</figure>', text, re.S))
        self.assertEqual(list(charts), [f"{model}: {measure}" for model in ("base of category_a", "base of category_b", "single model") for measure in ("accuracy", "loss")])
        for name, chart in charts.items():
            self.assertEqual(len(re.findall('<path d="M[^"]*" fill="none"', chart)), 2, name)  # a line for each run
            for run in "ab":
                self.assertIn(f">{run}</text>", chart)
        os.remove(self.path("b", "single", "metrics.jsonl"))
        dmoerm("compare", self.path("a"), self.path("b"), "--out", self.path("both.html"))
        with open(self.path("both.html"), encoding="utf-8") as f:
            single = re.search(r'aria-label="Learning curves of the single model: loss"(.*?)</figure>', f.read(), re.S).group(1)
        self.assertEqual(len(re.findall('<path d="M[^"]*" fill="none"', single)), 1)

    def test_runs_are_compared_on_shared_groups(self):
        said = self.compared()
        self.assertIn("the 120 test groups that both have (of 120 and 160)", said)
        self.assertRegex(said, r"\| seed +\| 1 +\| 2 +\|")
        self.assertNotIn("base.lr", said)
        self.assertNotIn("all labels", said)
        self.assertNotIn("Their data files differ", said)
        with open(self.path("b", "external.json"), encoding="utf-8") as f:
            found = f.read()
        with open(self.path("b", "external.json"), "w", encoding="utf-8") as f:
            f.write(found.replace("ab" * 32, "cd" * 32))
        self.assertIn("Their data files differ, and groups are matched by id", dmoerm("compare", self.path("a"), self.path("b")))
        fabricate(self.path("c"), categories=2, points=1, groups=60, steps=20, seed=2, pooled=True)
        self.assertRegex(dmoerm("compare", self.path("a"), self.path("c")), r"\| one per category on all labels, all +\| - +\| [5-9]\d\.\d \[")
        with open(self.path("both.html"), encoding="utf-8") as f:
            self.assertEqual(Nesting(f.read()).problems, [])

    def test_browser_shows_it_at_two_widths(self):
        if chromium.PROGRAM is None:
            self.skipTest("Chromium is not installed")
        self.page("--no-script")
        self.compared()
        with chromium.Chromium() as browser:
            for file, width, dark in itertools.product(("page.html", "both.html"), (1280, 390), (False, True)):
                with self.subTest(file=file, width=width, dark=dark):
                    page = browser.page(width, 900, dark)
                    page.open("file://" + self.path(file))
                    self.assertEqual(page.complaints(), [])
                    self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width, "the page itself scrolls sideways")
                    self.assertEqual(page.evaluate(BEYOND_THE_WINDOW), [])
                    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
                    self.assertEqual(int(re.search(r"\d+", ground).group()) < 128, dark)

    def test_browser_zooms_the_curves_of_the_chosen_category(self):
        library = os.path.join(os.environ.get("DMOERM_HOME") or os.path.expanduser("~/.cache/dmoerm"), "charts", "dygraph-combined.js")
        if chromium.PROGRAM is None or not os.path.exists(library):
            self.skipTest("Chromium or the chart library is not installed")
        text, _ = self.page(home=os.path.dirname(os.path.dirname(library)))
        with chromium.Chromium() as browser:
            page = browser.page(1280, 900)
            page.open("file://" + self.path("page.html"))
            self.assertEqual(page.complaints(), [])
            self.assertGreater(page.evaluate("document.querySelectorAll('#curve-box canvas').length"), 0)
            page.evaluate("const s = document.getElementById('curve-group'); s.value = '1'; s.dispatchEvent(new Event('change'))")
            self.assertIn("point_b1", page.evaluate("document.getElementById('curve-legend').textContent"))

    def test_mlflow_store_is_replaced(self):
        store = self.path("mlruns")
        for _ in range(2):
            said = dmoerm("report", self.run_path, "--out", self.path("page.html"), "--mlflow", store)
            self.assertIn("MLflow: 47 runs written", said)  # base and baseline of 9 categories, 27 experts, the single model, the test prompts
            self.assertEqual(len(os.listdir(store)), 1)
            self.assertEqual(len(glob.glob(os.path.join(store, "*", "*", "meta.yaml"))), 47)
        self.assertIn("MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri", said)

    def test_runs_of_one_name_stay_apart(self):
        store, offline = self.path("shared-mlruns"), self.path("shared-wandb")
        runs = [self.path(folder, "same") for folder in ("here", "there")]
        for seed, run in enumerate(runs):
            fabricate(run, categories=1, points=1, groups=5, steps=20, seed=seed)
            for _ in range(2):
                dmoerm("report", run, "--out", self.path("page.html"), "--mlflow", store, "--wandb", offline)
            if seed == 0:
                experiment, = glob.glob(os.path.join(store, "[0-9]*"))
                own = os.path.join(experiment, "0123456789abcdef0123456789abcdef", "tags")  # a run that a person logged
                os.makedirs(own)
                logs = len(os.listdir(offline))
        tags = []
        for file in glob.glob(os.path.join(experiment, "*", "tags", "run_directory")):
            with open(file, encoding="utf-8") as f:
                tags.append(f.read())
        self.assertEqual(set(tags), {os.path.realpath(run) for run in runs})
        self.assertEqual(len(tags), 2 * tags.count(tags[0]))
        self.assertTrue(os.path.isdir(own))
        self.assertEqual(len(os.listdir(offline)), 2 * logs)

    def test_wandb_log_has_every_evaluation(self):
        folder = self.path("wandb")
        self.assertIn("W&B: 46 offline runs", dmoerm("report", self.run_path, "--out", self.path("page.html"), "--wandb", folder))
        files = sorted(glob.glob(os.path.join(folder, "offline-run-*", "run-*.wandb")))
        self.assertEqual(len(files), 46)
        for file in files:
            self.assertEqual(len(list(wandb_records(file))), 15)  # header, run, 11 evaluations, summary, exit

    def test_long_wandb_log_crosses_blocks(self):
        fabricate(self.path("long"), categories=1, points=1, groups=5, steps=3000)
        dmoerm("report", self.path("long"), "--out", self.path("page.html"), "--wandb", self.path("wandb-long"))
        for file in glob.glob(self.path("wandb-long", "*", "*.wandb")):
            self.assertGreater(os.path.getsize(file), 2 * 32768)
            self.assertEqual(len(list(wandb_records(file))), 305)

    def test_mlflow_store_is_never_made_of_another_folder(self):
        os.makedirs(self.path("home-of-others"), exist_ok=True)
        with open(self.path("home-of-others", "thesis.tex"), "w", encoding="utf-8"):
            pass
        self.assertIn("output-is-another-file", dmoerm("report", self.run_path, "--out", self.path("page.html"), "--mlflow", self.path("home-of-others"), code=2))
        self.assertEqual(os.listdir(self.path("home-of-others")), ["thesis.tex"])

    def test_reports_in_one_folder_leave_each_others_cards_and_other_files_alone(self):
        fabricate(self.path("first"), categories=1, points=1, groups=10, steps=10, seed=1)
        fabricate(self.path("second"), categories=1, points=1, groups=10, steps=10, seed=2)
        os.makedirs(self.path("reports"))
        with open(self.path("reports", "MODEL_CARD.md"), "w", encoding="utf-8") as f:
            f.write("written by hand")
        for run in ("first", "second"):
            self.assertIn(f"{run}-MODEL_CARD.md", dmoerm("report", self.path(run), "--out", self.path("reports", f"{run}.html"), "--no-script"))
        for name, wanted in (("MODEL_CARD.md", "written by hand"), ("first-MODEL_CARD.md", "# first"), ("second-MODEL_CARD.md", "# second")):
            with open(self.path("reports", name), encoding="utf-8") as f:
                self.assertIn(wanted, f.read())

    def test_folders_above_and_inside_runs_are_no_runs(self):
        fabricate(self.path("above", "one"), categories=1, points=1, groups=10, steps=10, seed=1)
        fabricate(self.path("above", "deeper", "two"), categories=1, points=1, groups=10, steps=10, seed=2)
        os.makedirs(self.path("above", "project"))
        with open(self.path("above", "project", "config.yaml"), "w", encoding="utf-8") as f:
            f.write("title: a page of another program\n")
        one, two = self.path("above", "one"), self.path("above", "deeper", "two")
        for verb in ("report", "compare", "status"):
            said = dmoerm(verb, self.path("above"), code=2)
            self.assertIn("[not-a-run-directory]", said)
            self.assertIn(f"name a run below it: {two}, {one}", said)
            said = dmoerm(verb, os.path.join(one, "base"), code=2)
            self.assertIn(f"it lies in the run {os.path.realpath(one)}", said)
            self.assertIn("[not-a-run-directory]", dmoerm(verb, self.path("above", "project"), code=2))
        self.assertFalse(os.path.exists(self.path("above", "report")))

    def test_one_prompt_proves_nothing(self):
        fabricate(self.path("tiny"), categories=1, points=1, groups=1, steps=10, seed=1)
        self.assertIn("It is not certain that the mixture and the single model differ", dmoerm("report", self.path("tiny"), "--no-script"))

    def test_refusals(self):
        self.assertIn("no-such-run", dmoerm("report", self.path("nothing"), code=2))
        self.assertIn("output-is-another-file", dmoerm("report", self.run_path, "--out", self.scratch.name, code=2))
        config = os.path.join(self.run_path, "config.yaml")
        with open(config, encoding="utf-8") as file:
            kept = file.read()
        for command in (("report", self.run_path, "--out", config), ("report", self.run_path, "--card", config),
                        ("report", self.run_path, "--out", self.path("one"), "--card", self.path("one")), ("compare", self.run_path, "--out", config)):
            self.assertIn("output-is-another-file", dmoerm(*command, code=2))
        with open(config, encoding="utf-8") as file:
            self.assertEqual(file.read(), kept)


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
