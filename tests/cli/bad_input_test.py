#!/usr/bin/env python3
"""The program refuses every kind of bad input with exit code 2 and one clear message, and leaves nothing half-done.

Usage: bad_input_test.py PROGRAM [unittest arguments]. Runs on a random model of two tiny layers.
"""
import gzip
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import tiny_model  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
SPLITS = ["train", "train", "train", "validation", "test"]

CONFIG = """name: tiny
runs_dir: {root}/runs
backbone:
  dir: {root}/model
compute:
  device: cpu
  micro_batch_tokens: 256
data:
  inputs:
    - path: {root}/rows.jsonl
  max_length: 96
  min_prompt_tokens: 8
categories:
  - name: chat
    points: [tone, fact]
router:
  steps_max: 5
base:
  tuning: lora
  lora_rank: 2
  groups_per_step: 4
  steps_max: 4
  eval_every_steps: 2
experts:
  labels_min: 4
  train:
    lora_rank: 2
    groups_per_step: 4
    steps_max: 4
    eval_every_steps: 2
aggregator:
  steps_max: 5
baselines: false
folds: 0
"""


def rows(count=60):
    rng = random.Random(3)
    found = []
    for i in range(count):
        word = "".join(rng.choice("abcdefgh") for _ in range(6))
        found.append({"id": str(i), "category": "chat", "split": SPLITS[i % 5], "prompt": f"say {word} {i}", "responses": [
            {"text": f"{word} {quality}", "overall": place, "scores": {"tone": place, "fact": 2 - place}} for place, quality in enumerate(("poor", "fair", "good"))]})
    return found


class Tiny(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="dmoerm_cli_")
        self.addCleanup(shutil.rmtree, self.root)
        tiny_model.write_model(self.path("model"))
        self.write_rows(rows())
        self.config = CONFIG.format(root=self.root)

    def path(self, *names):
        return os.path.join(self.root, *names)

    def write_rows(self, found):
        with open(self.path("rows.jsonl"), "w", encoding="utf-8") as f:
            f.writelines(row if isinstance(row, str) else json.dumps(row) + "\n" for row in found)

    def dmoerm(self, *arguments, **more):
        environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=120, env=environment, check=False, **more)

    def run_it(self, *sets, **more):
        with open(self.path("tiny.yaml"), "w", encoding="utf-8") as f:
            f.write(self.config)
        return self.dmoerm("run", "--config", self.path("tiny.yaml"), *[a for s in sets for a in ("--set", s)], **more)

    def assert_refused(self, result, *texts):
        self.assertEqual(result.returncode, 2, result.stderr)
        for text in texts:
            self.assertIn(text, result.stderr)
        for text in ("internal error", "terminate called", "Exception raised from"):
            self.assertNotIn(text, result.stderr)

    def assert_refused_and_nothing_left(self, result, *texts):
        self.assert_refused(result, *texts)
        self.assertFalse(os.path.exists(self.path("runs")), [os.path.join(d, f) for d, _, fs in os.walk(self.path("runs")) for f in fs])


class Ingest(Tiny):
    def ingest(self, *files, out):
        return self.dmoerm("ingest", *files, "--model", self.path("model"), "--template", "plain", "--out", out)

    def content(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def test_refuses_to_overwrite_inputs_and_other_files(self):
        rows_file = self.path("rows.jsonl")
        before = self.content("rows.jsonl")
        self.assert_refused(self.ingest(rows_file, out=rows_file), "this would overwrite the input")
        shutil.copy(rows_file, self.path("x.h5.report.json"))
        self.assert_refused(self.ingest(self.path("x.h5.report.json"), out=self.path("x.h5")), "this would overwrite the input")
        shutil.copy(rows_file, self.path("notes.txt"))
        self.assert_refused(self.ingest(rows_file, out=self.path("notes.txt")), "exists and is not a token store")
        self.assertEqual(self.content("rows.jsonl"), before)
        self.assertEqual(self.content("notes.txt"), before)
        self.assertEqual(self.ingest(rows_file, out=self.path("x.h5")).returncode, 0)
        self.assertEqual(self.ingest(rows_file, out=self.path("x.h5")).returncode, 0, "a store may be made again")

    def test_names_the_new_option_for_forms(self):
        self.assert_refused(self.dmoerm("ingest", "--forms"), "--forms is now --formats")
        listed = self.dmoerm("ingest", "--formats")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn("rewardbench", listed.stdout)

    def test_leaves_nothing_after_a_signal(self):
        useless = {"prompt": [{"role": "user", "content": "a", "tool_calls": [1]}], "responses": [{"text": "a"}, {"text": "b"}]}
        self.write_rows(rows(60000) + [useless] * 200000)
        process = subprocess.Popen([PROGRAM, "ingest", self.path("rows.jsonl"), "--model", self.path("model"), "--template", "plain", "--out", self.path("x.h5")],
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.time() + 60
        while process.poll() is None and time.time() < deadline and not any(".tmp-" in f for f in os.listdir(self.root)):
            time.sleep(0.01)
        process.terminate()
        said = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 3, said)
        self.assertIn("was stopped by SIGTERM", said)
        self.assertEqual([f for f in os.listdir(self.root) if f.startswith("x.h5")], [])


class Configuration(Tiny):
    def test_a_job_script_names_the_setting_of_an_expert_that_is_not_there(self):
        os.mkdir(self.path("adapter"))
        self.config = self.config.replace("points: [tone, fact]", "points: [tone, fact]\n    imported_experts:\n"
                                          f"      - {{point: tone, dir: {self.path('adapter')}}}\n      - {{point: fact, dir: {self.path('nowhere')}}}")
        with open(self.path("tiny.yaml"), "w", encoding="utf-8") as f:
            f.write(self.config)
        refused = self.dmoerm("slurm", "--config", self.path("tiny.yaml"))
        self.assert_refused(refused, f"categories.0.imported_experts.1 (chat/fact): {self.path('nowhere')}: ", "[no-job-script]")
        self.assertNotIn("imported_experts.0", refused.stderr)

    def test_lists_unknown_duplicate_and_mistyped_keys_with_their_places(self):
        self.config = self.config.replace("lora_rank: 2", "lora_rnak: 2", 1).replace("baselines: false", "baselines: yes\nname: other")
        self.assert_refused_and_nothing_left(
            self.run_it(), "tiny.yaml:20:3: base.lora_rnak: unknown key, did you mean lora_rank?", "tiny.yaml:33:12: baselines: expected true or false",
            "tiny.yaml:34:1: name: given twice, first at")

    def test_refuses_more_adapted_layers_than_the_backbone_has(self):
        self.assert_refused_and_nothing_left(self.run_it("base.lora_layers=5", "experts.train.lora_layers=5"), "lora_layers: 5 is more than the 2 layers of")

    def test_warns_of_texts_longer_than_the_model_was_made_for(self):
        self.write_rows(["{\n"])  # the run ends at its data
        for length, said in ((257, True), (256, False)):
            result = self.run_it(f"data.max_length={length}", "compute.micro_batch_tokens=512")
            self.assert_refused(result)
            self.assertEqual(f"data.max_length {length} is more than the 256 positions (max_position_embeddings)" in result.stderr, said, result.stderr)

    def test_refuses_a_runs_dir_that_cannot_be_made(self):
        self.assert_refused(self.run_it("runs_dir=/proc/no_such_place"), "cannot create directories: ", "/proc/no_such_place", "[file-system-refused]")


class Labelling(Tiny):
    def label_it(self, *arguments):
        with open(self.path("tiny.yaml"), "w", encoding="utf-8") as f:
            f.write(self.config + "labels:\n  judges:\n    - model: free\n      endpoints: [{url: http://127.0.0.1:9/v1}]\n")
        return self.dmoerm("label", "--config", self.path("tiny.yaml"), *arguments)

    def test_refuses_limits_out_of_range(self):
        for option in ("--requests-max", "--tokens-max"):
            self.assert_refused_and_nothing_left(self.label_it(option, "0"), f"dmoerm: {option}: 0 is out of range: expected 1 or more [limit-out-of-range]\n")
        self.assert_refused_and_nothing_left(self.label_it("--cost-max", "-1"), "dmoerm: --cost-max: -1 is out of range: ")

    def test_refuses_a_cost_limit_for_a_judge_without_a_price(self):
        self.assert_refused_and_nothing_left(self.label_it("--cost-max", "1"), "--cost-max: these judges have no price: free; ")

    def test_names_the_new_verb_for_labels(self):
        for arguments in ((), ("stats", "x"), ("export", "x", "--format", "csv")):
            self.assert_refused(self.dmoerm("labels", *arguments), "the verb labels is now called label-store")

    def test_names_a_verb_that_does_not_exist(self):
        done = self.dmoerm("nope", "--config", "x")
        self.assertEqual((done.returncode, done.stderr), (2, "dmoerm: there is no verb nope; `dmoerm --help` lists all verbs [bad-command-line]\n"))

    def test_names_a_file_or_folder_whose_name_is_not_utf8(self):
        name = os.fsencode(self.path("")) + b"na\xffme.jsonl"
        shutil.copy(self.path("rows.jsonl"), name)
        done = self.dmoerm("ingest", os.fsdecode(name), "--model", self.path("model"), "--template", "plain", "--out", self.path("x.h5"))
        self.assert_refused(done, "a word of the command line is not UTF-8", r"na\xffme.jsonl", "[name-not-utf8]")
        folder = os.fsencode(self.path("")) + b"od\xe9"
        os.mkdir(folder)
        self.assert_refused(self.dmoerm("licences", cwd=folder), "the name of this folder is not UTF-8", r"od\xe9")
        with open(self.path("env.yaml"), "w", encoding="utf-8") as f:
            f.write("name: ${NAME_FROM_OUTSIDE}\n")
        os.environb[b"NAME_FROM_OUTSIDE"] = b"n\xe9"
        try:
            self.assert_refused(self.dmoerm("run", "--config", self.path("env.yaml")), "environment variable NAME_FROM_OUTSIDE is not UTF-8")
        finally:
            del os.environb[b"NAME_FROM_OUTSIDE"]

    def test_names_what_a_verb_does_not_take_and_what_it_has_for_that(self):
        for arguments, wanted in (
                (("score", "--bundle", "T", "--data", "x.jsonl"), "score: not expected: --data x.jsonl; score has --input"),
                (("eval", "--model", "length", "--input", "x.jsonl", "--out", "y"), "eval: not expected: --input; eval has --data and --benchmark"),
                (("score", "--bundel", "T"), "score: not expected: --bundel T; score has --bundle"),
                (("report", "run", "--output", "x.html"), "report: not expected: --output x.html; report has --out"),
                (("status", "run", "one", "two"), "status: not expected: one two"),
                (("label-store", "stats", "x", "--entirely-unknown"), "label-store stats: not expected: --entirely-unknown"),
        ):
            done = self.dmoerm(*arguments)
            self.assertEqual((done.returncode, done.stderr.splitlines()[0]), (2, f"dmoerm: {wanted} [bad-command-line]"))

    def test_licences_are_told_without_markup_of_links(self):
        said = self.dmoerm("licences").stdout
        self.assertIn("in the file LICENSE.", said)
        self.assertNotIn("](", said)

    def test_says_that_csv_cannot_be_imported(self):
        self.assertIn("which cannot be imported", self.dmoerm("label-store", "export", "--help").stdout)
        self.assertIn("CSV is not read", self.dmoerm("label-store", "import", "--help").stdout)


class Data(Tiny):
    def with_row(self, row):
        self.write_rows(rows() + [row])
        return self.run_it()

    def test_refuses_a_category_without_data(self):
        self.config = self.config.replace("router:", "  - {name: code, points: [style]}\nrouter:", 1)
        self.assert_refused_and_nothing_left(self.run_it(), "these categories have no data: code; the inputs have data of: chat")

    def test_suggests_the_name_of_a_point_without_labels(self):
        self.assert_refused_and_nothing_left(self.run_it("categories.0.points=[tnoe, fact]"), "category chat, tnoe: no labels; did you mean tone?")

    def test_refuses_labels_of_one_kind(self):
        found = rows()
        for row in found:
            for response in row["responses"]:
                response["scores"]["tone"] = 1
        self.write_rows(found)
        self.assert_refused_and_nothing_left(self.run_it(), "category chat, tone: all labels are of one kind")

    def test_refuses_too_few_labels(self):
        self.assert_refused_and_nothing_left(self.run_it("experts.labels_min=5000"), "at least 5000 needed", "category chat, tone: ", "category chat, fact: ")

    def test_refuses_missing_validation_or_test_labels(self):
        found = rows()
        for row in found:
            row["split"] = "train"
        self.write_rows(found)
        self.assert_refused_and_nothing_left(self.run_it(), "chat, overall: 0 ordered pairs, at least 1 needed, in the validation split", "in the test split")

    def test_refuses_a_group_of_equal_responses(self):
        row = dict(rows(1)[0], prompt="same", responses=[{"text": "x", "overall": 1}, {"text": "x", "overall": 2}])
        self.assert_refused_and_nothing_left(self.with_row(row), "rows.jsonl:61: expected different responses, found 2 equal ones", "data.bad_lines_max")

    def test_refuses_an_empty_prompt_and_an_empty_response(self):
        self.assert_refused_and_nothing_left(self.with_row(dict(rows(1)[0], prompt="  ")), "rows.jsonl:61: expected a prompt, found an empty one")
        row = rows(1)[0]
        row["responses"][1]["text"] = ""
        self.assert_refused_and_nothing_left(self.with_row(row), "rows.jsonl:61: expected a text in response 1")

    def test_refuses_scores_that_are_not_numbers(self):
        for score in ("NaN", "Infinity", "-Infinity", "1e999"):
            row = json.dumps(dict(rows(1)[0], prompt="odd")).replace('"overall": 0', f'"overall": {score}') + "\n"
            self.assert_refused_and_nothing_left(self.with_row(row), "rows.jsonl:61: expected finite numbers")

    def test_leaves_nothing_on_a_full_disk(self):
        result = self.run_it(restore_signals=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)))
        self.assert_refused_and_nothing_left(result, "store.h5")


class Weights(Tiny):
    """Bad weights are refused before the inputs are read, which are not preference data here."""

    def setUp(self):
        super().setUp()
        self.write_rows(["no preference data\n"])

    def with_weights(self, change):
        tensors = tiny_model.weights()
        change(tensors)
        tiny_model.write_model(self.path("model"), tensors)
        return self.run_it()

    def test_names_a_tensor_with_nan(self):
        def change(tensors):
            tensors["model.layers.1.mlp.up_proj.weight"][1][7] = float("nan")
        self.assert_refused_and_nothing_left(self.with_weights(change), "tensor model.layers.1.mlp.up_proj.weight holds NaN or infinity")

    def test_names_missing_extra_and_misshapen_tensors(self):
        name = "model.layers.0.mlp.down_proj.weight"
        self.assert_refused_and_nothing_left(self.with_weights(lambda t: t.pop(name)), "mlp.down_proj.weight", "is missing: expected shape [16, 24]")
        self.assert_refused_and_nothing_left(
            self.with_weights(lambda t: t.update({name: ([24, 16], t[name][1])})), name + " has shape [24, 16], config.json requires [16, 24]")
        self.assert_refused_and_nothing_left(
            self.with_weights(lambda t: t.update({"model.layers.0.extra.weight": ([2], [0.0, 0.0])})), "model.layers.0.extra.weight [2] is not part of this")

    def test_refuses_a_truncated_file_and_an_unsupported_architecture(self):
        with open(self.path("model", "model.safetensors"), "r+b") as f:
            f.truncate(3000)
        self.assert_refused_and_nothing_left(self.run_it(), "model.safetensors")
        tiny_model.write_model(self.path("model"), settings=dict(tiny_model.config(), model_type="gpt2"))
        self.assert_refused_and_nothing_left(self.run_it(), "gpt2", "llama", "mistral", "qwen2", "qwen3", "bert")


class Training(Tiny):
    def test_fails_only_the_task_with_a_nan_loss_and_names_group_and_expert(self):
        result = self.run_it("experts.train.lr=1e30")
        self.assert_refused(result, "expert/chat/tone: loss or gradient became NaN", "group ")
        for task, done in (("single", True), ("router", True), ("base/chat", True), ("expert/chat/tone", False), ("aggregator/chat", False)):
            self.assertEqual(os.path.exists(self.path("runs", "tiny", task, "manifest.json")), done, task)


class AfterARefusal(Tiny):
    def test_completes_the_corrected_run_and_scores_with_its_bundle(self):
        self.assert_refused_and_nothing_left(self.run_it("categories.0.points=[tnoe, fact]"), "did you mean tone?")
        done = self.run_it()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_report(done.stdout)
        self.check_another_configuration()
        self.check_damage()
        self.check_damage_before_the_bundle()
        self.check_scoring()

    def check_report(self, text):
        self.assertRegex(text, r"## The router[\s\S]*\| chat +\| 12 +\|")
        self.assertRegex(text, r"temperature \d+\.\d+; expected calibration error 0\.\d+ over 12 prompts")
        with open(self.path("runs", "tiny", "eval", "chat", "results.json"), encoding="utf-8") as f:
            self.assertEqual({route["likeliest"] for route in json.load(f)["routes"]}, {"chat"})

    def check_another_configuration(self):
        self.assert_refused(self.run_it("base.lr=0.5"), "made with another configuration", "train.lr: ", "-> 0.5", "--update")
        tensors = tiny_model.weights()
        tensors["model.norm.weight"][1][0] = 1.5
        tiny_model.write_model(self.path("model"), tensors)
        self.assert_refused(self.run_it(), "made with another configuration", "weights of the backbone: ", "--update")
        tiny_model.write_model(self.path("moved"))
        moved = self.run_it("backbone.dir=" + self.path("moved"))
        self.assertEqual(moved.returncode, 0, moved.stderr)
        self.assertRegex(moved.stderr + moved.stdout, r"\[run\] (\d+) tasks, \1 done already")
        tiny_model.write_model(self.path("model"))
        self.write_rows(rows(59))
        other_data = self.run_it()
        self.assert_refused(other_data, "rows.jsonl", "--update")
        self.assertRegex(other_data.stderr, r"up to 1\d tasks would be done again, 1\d of them only because they use changed results")
        self.write_rows(rows())

    def check_damage(self):
        """A damaged bundle is made again, and leftovers of a killed writer are removed."""
        ended = subprocess.Popen(["true"])
        ended.wait()
        left = self.path("runs", "tiny", "base", "chat", f"checkpoint-4.json.tmp-{os.uname().nodename}-{ended.pid}")
        with open(left, "w", encoding="utf-8"):
            pass
        router = self.path("runs", "tiny", "bundle", "router", "router.json")
        with open(router, "a", encoding="utf-8") as f:
            f.write(" ")
        again = self.run_it()
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("router.json: missing or damaged, task bundle is done again", again.stderr + again.stdout)
        self.assertFalse(os.path.exists(left))
        unharmed = self.run_it()
        self.assertNotIn("done again", unharmed.stderr + unharmed.stdout)

    def check_damage_before_the_bundle(self):
        """The bundle waits for each task that is done again because a file of it is damaged, and does not hold the damage."""
        run = self.path("runs", "tiny")

        def bundle():
            contents = {}
            for folder, _, files in os.walk(os.path.join(run, "bundle")):
                for name in files:
                    with open(os.path.join(folder, name), "rb") as f:
                        contents[os.path.relpath(os.path.join(folder, name), run)] = f.read()
            return contents

        undisturbed = bundle()
        kinds = {}
        for folder, _, files in os.walk(run):
            for name in files:
                place = os.path.relpath(os.path.join(folder, name), run)
                if place.split("/")[0] in ("base", "expert", "router", "aggregator", "single") and name.endswith((".safetensors", "manifest.json")):
                    kinds[(place.split("/")[0], name)] = place
        self.assertGreaterEqual(len(kinds), 10, kinds)
        for place in sorted(kinds.values()):
            with self.subTest(place):
                with open(os.path.join(run, place), "r+b") as f:
                    f.seek(-3, os.SEEK_END)
                    last = f.read(1)
                    f.seek(-1, os.SEEK_CUR)
                    f.write(bytes([last[0] ^ 4]))
                shutil.rmtree(os.path.join(run, "bundle"))
                os.remove(os.path.join(run, "bundle.manifest.json"))
                again = self.run_it()
                said = again.stderr + again.stdout
                self.assertEqual(again.returncode, 0, said)
                self.assertIn(f"{os.path.basename(place)}: missing or damaged, task ", said)
                self.assertIn("task=report is still done", said)
                self.assertEqual(bundle(), undisturbed)
        self.assertNotIn("done again", self.run_it().stderr)

    def check_scoring(self):
        question = json.dumps({"prompt": "say it", "responses": ["poor", "good"]}) + "\n"
        with gzip.open(self.path("q.jsonl.gz"), "wt", encoding="utf-8") as f:
            f.write(question)
        bundle = ["score", "--bundle", self.path("runs", "tiny", "bundle")]
        plain = self.dmoerm(*bundle, input=question)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        answer = json.loads(plain.stdout)
        self.assertEqual(len(answer["scores"]), 2)
        self.assertEqual((answer["scored_by"], answer["cut_tokens"], answer["route"]["category"], answer["route"]["fallback"]), ("chat", [0, 0], "chat", False))
        self.assertEqual([set(p) for p in answer["points"]], [{"tone", "fact"}] * 2)
        self.check_lines(bundle, question)
        self.check_outputs(bundle, question)
        self.assertEqual(self.dmoerm(*bundle, "--input", self.path("q.jsonl.gz")).stdout, plain.stdout)
        self.assert_refused(self.dmoerm(*bundle, "--device", "tpu", input=question), "--device")
        self.assert_refused(self.dmoerm(*bundle, input="{}\n"), "stdin:1: expected")
        for text, said in (("version https://git-lfs.github.com/spec/v1\n", "stdin: expected JSON lines in UTF-8, found a Git LFS pointer"),
                           ("<!DOCTYPE html>\n", "a web page (HTML)"), ("[" + question.strip() + "]\n", "stdin:1: expected one JSON object per line, found the beginning of a list"),
                           ("prompt,responses\nQ,a\n", "the names of a table's columns"), ("{\n", "over several lines; convert it with jq -c . FILE")):
            self.assert_refused(self.dmoerm(*bundle, "--bad-lines", "9", input=text), said)
        self.assertIn("stdin: no rows", self.dmoerm(*bundle, input="").stderr)
        if not os.path.exists("/dev/nvidiactl"):
            self.assert_refused(self.dmoerm(*bundle, "--device", "cuda", input=question), "--device: cuda, but this build")


    def check_lines(self, bundle, question):
        same = [{"prompt": "say it", "system": "be kind", "responses": ["poor"]}, {"prompt": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "say it"}], "response": "poor"}]
        column, turn = self.dmoerm(*bundle, input="".join(json.dumps(row) + "\n" for row in same)).stdout.splitlines()
        self.assertEqual(column, turn)
        columns = dict(json.loads(question), chosen="good", rejected="poor")
        self.assertEqual(self.dmoerm(*bundle, input=json.dumps(columns) + "\n").stdout, self.dmoerm(*bundle, input=question).stdout)
        named = self.dmoerm(*bundle, input=2 * (json.dumps(dict(json.loads(question), category="stories")) + "\n"))
        self.assertEqual(named.stderr.count('"category" of a row is not read'), 1, named.stderr)
        lines = question + json.dumps({"id": 7, "prompt": "say it", "responses": ["poor", " "]}) + "\n" + '{"prompt": "x", "responses": [NaN]}\n' + question
        self.assert_refused(self.dmoerm(*bundle, "--bad-lines", "1", input=lines), "stdin:3: expected finite numbers, found NaN", "more than --bad-lines 1")
        tolerated = self.dmoerm(*bundle, "--bad-lines", "2", input=lines)
        self.assertEqual(tolerated.returncode, 0, tolerated.stderr)
        answers = [json.loads(line) for line in tolerated.stdout.splitlines()]
        self.assertEqual(answers[1], {"id": 7, "error": "expected a text in response 1, found an empty one", "code": "empty-response"})
        self.assertEqual(answers[0]["scores"], answers[3]["scores"])

    def check_outputs(self, bundle, question):
        file = self.path("q.jsonl")
        with open(file, "w", encoding="utf-8") as f:
            f.write(question)
        self.assert_refused(self.dmoerm(*bundle, "--input", file, "--output", file), "this is the input")
        self.assert_refused(self.dmoerm(*bundle, "--output", self.path("runs", "tiny", "bundle", "dmoerm.json"), input=question), "this lies in the bundle")
        self.assert_refused(self.dmoerm(*bundle, "--output", self.path("nowhere", "x"), input="no row\n"), "cannot create")
        self.assert_refused(self.dmoerm(*bundle, "--category", "poetry", input=""), "the model has: chat")
        for question_in in (dict(input=question), dict(stdin=subprocess.DEVNULL)):
            more = [] if "input" in question_in else ["--prompt", "say it", "--response", "poor"]
            with open("/dev/full", "w", encoding="utf-8") as full:
                environment = dict(os.environ, OMP_NUM_THREADS="1")
                result = subprocess.run([PROGRAM, *bundle, *more], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, env=environment, check=False, **question_in)
            self.assert_refused(result, "standard output: cannot write")
        self.assert_refused(self.dmoerm(*bundle, "--output", self.path("x"), input=question + "{}\n"), "stdin:2: expected")
        self.assertFalse(os.path.exists(self.path("x")))
        self.assertEqual(self.dmoerm(*bundle, "--input", file, "--output", self.path("x")).returncode, 0)
        with open(self.path("x"), encoding="utf-8") as f:
            self.assertEqual(f.read(), self.dmoerm(*bundle, input=question).stdout)


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"usage: {sys.argv[0]} PROGRAM; there is no program at {PROGRAM or '(nothing given)'}")
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
