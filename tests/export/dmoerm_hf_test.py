#!/usr/bin/env python3
"""The package dmoerm_hf gives the scores, routes and parts of `dmoerm score`: bundles of every family, aggregator and tuning, 200 texts, any batch.

Usage: dmoerm_hf_test.py PROGRAM [unittest arguments].   Skipped without transformers (launch/setup.sh --with tests)."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other are slow on a busy machine
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "..", "launch", "python")]
try:
    import tiny_run
except ImportError as missing:
    print(f"skipped: {missing} (launch/setup.sh --with tests)")
    sys.exit(77)
from dmoerm_hf import BundleError, DmoermRewardModel  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
EARLIER = os.path.join(HERE, "..", "golden", "earlier", "bundle")
TOLERANCE = 1e-4
FULL = {"base": {"tuning": "full", "lr": 1e-3}}
FORM = {"starts_with_bos": True, "edges": {
    "start>system": [{"token": "[CLS]"}, "s ", {"content": []}], "start>user": [{"token": "[CLS]"}, "u ", {"content": [["strip"]]}],
    "system>user": [" u ", {"content": [["rstrip"]]}], "user>assistant": [" a ", {"content": [["after_last", "think", " "]]}],
    "assistant>user": [" u ", {"content": [["strip"]]}], "user>generation": [" a "], "user>response": [" a ", {"content": [["lstrip", "\n"]]}],
    "response>end": [" e ", {"token": "[SEP]"}]}}
MEAN = {"head": {"reads": "mean"}}
# Name: (family, settings). Together they have every family, aggregator, tuning, kind of template, kind and depth of the router and reading of heads.
BUNDLES = {
    "stack": ("llama", {"router": {"confidence_min": 0.4}}),
    "gate": ("mistral", {**FULL, **MEAN, "aggregator": {"kind": "gate"}, "router": {"depth": 1.0, "keep_share": 1.0, "pooling": "last"}}),
    "mlp": ("qwen2", {"aggregator": {"kind": "mlp"}, "backbone": {"chat_template": "chatml"}, "router": {"kind": "reward", "confidence_min": 0.4}}),
    "mixed": ("llama", {"router": {"confidence_min": 0.3, "mix_top": 2, "mix_gap": 0.3, "steps_max": 2, "keep_share": 1.0}}),
    "paper_mlp": ("qwen3", {**MEAN, "aggregator": {"kind": "paper_mlp"}, "base": {"lora_layers": 1}, "experts": {"train": {"lora_layers": 1}}}),
    "uwo": ("bert", {**FULL, "aggregator": {"kind": "uwo"}, "backbone": {"chat_template": "plain"}, "router": {"kind": "clusters", "clusters": 5}}),
    "wco": ("bert", {**MEAN, "aggregator": {"kind": "wco"}, "experts": {"train": {"ties": "all"}}}),
    "mean": ("qwen2", {"aggregator": {"kind": "mean"}, "router": {"confidence_min": 1.0}, "backbone": {"chat_template": "FORM"}}),
}


def groups():
    """60 prompts with 200 responses: conversations, other scripts, special tokens in texts, texts that are cut in three ways, equal texts."""
    prompts = ["say 3 words of 5", "tell me code 2 words of 9", "Größe? 你好 ½", "what does [SEP] mean in [CLS] bert", " spaces  and\n\nlines\t"]
    found = []
    for i in range(60):
        prompt = f"{prompts[i % len(prompts)]} {i}"
        if i % 7 == 3:
            prompt = [{"role": "system", "content": "be brief"}, {"role": "user", "content": prompt}, {"role": "assistant", "content": "hm think well"},
                      {"role": "user", "content": "and then"}]
        if i % 7 == 5:
            prompt = prompt + " very long" * 40
        responses = [f"fair {i}", "good", f"{'poor ' * (i % 5)}[SEP] {i}"]
        if i % 3 == 0:
            responses.append("so " * 70 + str(i) if i % 2 else "good")
        found.append((prompt, responses))
    return found


def dmoerm_scores(bundle, category=None):
    lines = "".join(json.dumps({"prompt": prompt, "responses": responses}) + "\n" for prompt, responses in groups())
    command = [PROGRAM, "score", "--bundle", bundle, "--threads", "1"] + (["--category", category] if category else [])
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


class DmoermHf(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="dmoerm_hf_")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        form = os.path.join(cls.folder, "form.json")
        cls.write_form(form)
        cls.bundles = {"earlier": EARLIER}
        for name, (family, settings) in BUNDLES.items():
            if settings.get("backbone", {}).get("chat_template") == "FORM":
                settings = {**settings, "backbone": {"chat_template": form}}
            scratch = os.path.join(cls.folder, name)
            tiny_run.make_model(family, os.path.join(scratch, "model"))
            cls.bundles[name] = tiny_run.run(PROGRAM, os.path.join(scratch, "model"), scratch, ("chat", "code"), settings)

    @staticmethod
    def write_form(path):
        import hashlib
        canonical = json.dumps(FORM, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"schema_version": 1, "name": "small", "source": {"file": "tokenizer_config.json", "sha256": "00"}, "proof": {}, "form": FORM,
                       "sha256": hashlib.sha256(canonical.encode()).hexdigest()}, file)

    def near(self, ours, theirs, what):
        self.assertLessEqual(abs(ours - theirs), TOLERANCE * (1 + abs(theirs)), what)

    def compare(self, name, batch_size, category=None):
        model = DmoermRewardModel.from_pretrained(self.bundles[name])
        wanted = dmoerm_scores(self.bundles[name], category)
        found = model.score_groups(groups(), category, batch_size=batch_size)
        for i, (line, results) in enumerate(zip(wanted, found, strict=True)):
            for r, result in enumerate(results):
                where = f"{name}, batch {batch_size}, prompt {i}, response {r}"
                self.assertEqual(result.scored_by, line["scored_by"], where)
                self.assertEqual((result.route.category, result.route.fallback), (line["route"]["category"], line["route"]["fallback"]), where)
                self.assertEqual(result.cut_tokens, line["cut_tokens"][r], where)
                self.near(result.route.confidence, line["route"]["confidence"], where + ", confidence")
                second = line["route"].get("second", {})
                self.assertEqual(result.route.second, second.get("category"), where)
                self.near(result.route.second_share, second.get("share", 0.0), where + ", share of the second category")
                self.near(result.route.distance, line["route"]["distance"], where + ", distance")
                self.near(result.reward, line["scores"][r], where + ", score")
                self.assertEqual(result.points.keys(), line["points"][r].keys(), where)
                for point, value in line["points"][r].items():
                    self.near(result.points[point], value, f"{where}, {point}")
                self.assertEqual(result.base is None, "base" not in line, where)
                if result.base is not None:
                    self.near(result.base, line["base"][r], where + ", base")
                self.assertEqual(result.contributions is None, "contributions" not in line, where)
                if result.contributions is not None:
                    parts = line["contributions"][r]
                    for point, value in parts["points"].items():
                        self.near(result.contributions[point], value, f"{where}, part of {point}")
                    self.near(result.base_contribution or 0.0, parts.get("base", 0.0), where + ", part of the base")
                    self.near(result.second_contribution or 0.0, parts.get("second", 0.0), where + ", part of the second category")
        return {line["scored_by"] for line in wanted}, sum(len(line["scores"]) for line in wanted), any(max(line["cut_tokens"]) for line in wanted)

    def test_any_batch_gives_what_the_program_gives(self):
        for batch_size in (1, 7, 64):
            _, texts, cut = self.compare("stack", batch_size)
            self.assertEqual(texts, 200)
            self.assertTrue(cut)

    def test_every_family_aggregator_tuning_and_template(self):
        who = set()
        for name in self.bundles:
            with self.subTest(name):
                who |= self.compare(name, 16)[0]
        self.assertGreaterEqual(who, {"single", "chat"})

    def test_the_rewards_of_two_categories_are_mixed(self):
        seconds = {line["route"].get("second", {}).get("category") for line in dmoerm_scores(self.bundles["mixed"])}
        self.assertTrue(seconds & {"chat", "code"}, seconds)
        self.assertEqual({line["route"].get("second") for line in dmoerm_scores(self.bundles["mixed"], "chat")}, {None})

    def test_a_named_category_scores(self):
        self.assertEqual(self.compare("mean", 16, "code")[0], {"code"})

    def test_a_bundle_in_bfloat16(self):
        scratch = os.path.join(self.folder, "half")
        tiny_run.make_model("llama", os.path.join(scratch, "model"))
        bundle = tiny_run.run(PROGRAM, os.path.join(scratch, "model"), scratch, ("chat",), {"compute": {"dtype": "bfloat16"}})
        with open(os.path.join(bundle, "dmoerm.json"), encoding="utf-8") as file:
            golden = [item for item in json.load(file)["golden"] if item["category"] == "chat"]
        for dtype in (None, tiny_run.torch.float32):
            model = DmoermRewardModel.from_pretrained(bundle, dtype=dtype, verify=dtype is None)
            for item in golden:
                for result, rewards in zip(model.score(item["prompt"], item["responses"], "chat"), item["expert_rewards"], strict=True):
                    for ours, theirs in zip(result.expert_rewards, rewards, strict=True):
                        self.assertLess(abs(ours - theirs), 0.1 * (1 + abs(theirs)), "rounding of bfloat16")

    def test_normalised_scores(self):
        prompt, responses = groups()[0]
        line = json.dumps({"prompt": prompt, "responses": responses})
        done = subprocess.run([PROGRAM, "score", "--bundle", self.bundles["stack"], "--normalise"], input=line, capture_output=True, text=True, check=True)
        for result, wanted in zip(DmoermRewardModel.from_pretrained(self.bundles["stack"]).score(prompt, responses), json.loads(done.stdout)["scores"]):
            self.near(result.normalised, wanted, "normalised")

    def test_heads_that_read_the_mean_are_not_exported_as_classifiers(self):
        for name in ("gate", "wco"):
            done = subprocess.run([PROGRAM, "export", "--bundle", self.bundles[name], "--out", os.path.join(self.folder, name + "_exported")],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("head.reads: mean", done.stderr)

    def test_what_cannot_be_scored_is_refused(self):
        model = DmoermRewardModel.from_pretrained(EARLIER)
        for arguments, words in ((("a", ["b"], "cook"), "the model has: chat"), (("\u200b", ["b"]), "prompt is empty"), (("a", ["b", " "]), "response 1 is empty"),
                                 (("a", []), "no response"), (("a", "b"), "list of texts"), (([{"role": "user"}], ["b"]), "message 0"),
                                 (([{"role": "tool", "content": "x"}], ["b"]), "role \"tool\""), ((None, ["b"]), "NoneType"), (("a", None), "NoneType"),
                                 (({"role": "user", "content": "a"}, ["b"]), "is a dict")):
            with self.assertRaisesRegex(BundleError, words):
                model.score(*arguments)

    def test_any_iterable_of_responses_and_any_spelling_of_roles(self):
        model = DmoermRewardModel.from_pretrained(EARLIER)
        plain = model.score([{"role": "user", "content": "a"}], ["b", "good"])
        self.assertEqual(model.score([{"role": "Human", "content": "a"}], iter(["b", "good"])), plain)

    def test_a_changed_digit_of_the_manifest_is_refused(self):
        for bundle in (EARLIER, self.bundles["stack"]):
            copy = os.path.join(self.folder, "changed", os.path.basename(os.path.dirname(bundle)))
            shutil.copytree(bundle, copy)
            place = os.path.join(copy, "dmoerm.json")
            with open(place, encoding="utf-8") as file:
                manifest = json.load(file)
            self.assertEqual("manifest_sha256" in manifest, bundle != EARLIER, "earlier versions wrote none")
            manifest["score_stats"]["chat"]["std"] += 0.25
            with open(place, "w", encoding="utf-8") as file:
                json.dump(manifest, file, ensure_ascii=False)
            if bundle == EARLIER:
                DmoermRewardModel.from_pretrained(copy)
                continue
            with self.assertRaisesRegex(BundleError, "dmoerm.json: its manifest_sha256 is that of another content"):
                DmoermRewardModel.from_pretrained(copy)

    def test_what_is_no_bundle_is_refused(self):
        copy = os.path.join(self.folder, "copy")
        shutil.copytree(EARLIER, copy)
        with open(os.path.join(copy, "router", "router.safetensors"), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x7f")
        with self.assertRaisesRegex(BundleError, "router.safetensors has another checksum"):
            DmoermRewardModel.from_pretrained(copy)
        with self.assertRaisesRegex(BundleError, "golden .* is .* here"):  # what the checksums do not cover
            with open(os.path.join(copy, "dmoerm.json"), encoding="utf-8") as file:
                manifest = json.load(file)
            manifest["golden"][0]["scores"][0] += 1
            manifest["files"] = {}
            with open(os.path.join(copy, "dmoerm.json"), "w", encoding="utf-8") as file:
                json.dump(manifest, file)
            DmoermRewardModel.from_pretrained(copy)
        manifest["schema_version"] = 99
        with open(os.path.join(copy, "dmoerm.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        with self.assertRaisesRegex(BundleError, "schema version 99"):
            DmoermRewardModel.from_pretrained(copy, verify=False)
        with self.assertRaisesRegex(BundleError, "did you mean"):
            DmoermRewardModel.from_pretrained(os.path.dirname(EARLIER))


if __name__ == "__main__":
    tiny_run.transformers.logging.set_verbosity_error()
    tiny_run.transformers.utils.logging.disable_progress_bar()
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
