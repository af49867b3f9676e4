#!/usr/bin/env python3
"""What `dmoerm export` writes is loaded by transformers and peft without a missing or unexpected tensor and gives each model's own reward; its chat
template gives the ids that the model was trained with; what cannot be exported is refused.

Usage: export_test.py PROGRAM [unittest arguments].   Skipped without transformers and peft (launch/setup.sh --with tests)."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other are slow on a busy machine
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "..", "launch", "python")]
try:
    import peft
    import tiny_run
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"skipped: {missing} (launch/setup.sh --with tests)")
    sys.exit(77)
from dmoerm_hf import DmoermRewardModel  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
EARLIER = os.path.join(HERE, "..", "golden", "earlier", "bundle")
FULL = {"base": {"tuning": "full", "lr": 1e-3}}
BUNDLES = {
    "llama": ("llama", {}), "mistral": ("mistral", {**FULL, "backbone": {"chat_template": "mistral"}}),
    "qwen3": ("qwen3", {"base": {"lora_layers": 1}, "experts": {"train": {"lora_layers": 1}}, "backbone": {"chat_template": "llama3"},
                        "data": {"max_length": 200}}),
    "bert": ("bert", {"backbone": {"chat_template": "plain"}}), "bert_full": ("bert", FULL),
}
CONVERSATIONS = [
    ([{"role": "user", "content": "say 3 words"}], "fair enough"),
    ([{"role": "user", "content": "it's a \"test\"\nof two lines"}, {"role": "assistant", "content": "ok then"}, {"role": "user", "content": "go on"}], "no"),
    ([{"role": "system", "content": "be brief"}, {"role": "user", "content": "tell me"}], "why"),
]


def run(*arguments, code=0):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise AssertionError(f"exit code {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def load(folder):
    model, about = transformers.AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    wrong = {key: value for key, value in about.items() if value and key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
    if wrong:
        raise AssertionError(f"{folder}: transformers reports {wrong}")
    return model.eval()


class Export(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="dmoerm_export_")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.bundles = {"earlier": EARLIER}
        for name, (family, settings) in BUNDLES.items():
            scratch = os.path.join(cls.folder, name)
            tiny_run.make_model(family, os.path.join(scratch, "model"))
            cls.bundles[name] = tiny_run.run(PROGRAM, os.path.join(scratch, "model"), scratch, ("chat",), settings)

    def export(self, bundle, *more):
        out = tempfile.mkdtemp(dir=self.folder)
        run("export", "--bundle", bundle, "--out", out, *more)
        self.assertTrue(os.path.getsize(os.path.join(out, "README.md")))
        return out

    def wanted(self, bundle):
        """The reward of each model of a bundle for each conversation that it reads whole."""
        model = DmoermRewardModel.from_pretrained(bundle)
        groups = [model._tokens(prompt, [response]) for prompt, response in CONVERSATIONS]
        rewards = {"single": [None if group.cut_tokens[0] else model._score_single([(None, group)], 1)[0][0].reward for group in groups]}
        for name, category in model._categories.items():
            for k, expert in enumerate(category.experts + ([category.base] if category.base else [])):
                own = rewards.setdefault(f"{name}/{category.points[k]}" if k < len(category.points) else name, [])
                for group in groups:
                    states = expert.backbone.states(group.responses, [expert.adapter], 1)[0, 0]
                    own.append(None if group.cut_tokens[0] else float(states.double() @ expert.weight.double()))
        return rewards

    def check(self, model, tokenizer, wanted, where):
        texts = [tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": response}], tokenize=False) for prompt, response in CONVERSATIONS]
        inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            found = model(**inputs).logits[:, 0].tolist()
        self.assertTrue(any(reward is not None for reward in wanted))
        for ours, theirs in zip(found, wanted, strict=True):
            if theirs is not None:
                self.assertLessEqual(abs(ours - theirs), 1e-4 * (1 + abs(theirs)), f"{where}: {found}, {wanted}")

    def test_peft(self):
        for name, bundle in self.bundles.items():
            out = self.export(bundle)
            for part, wanted in self.wanted(bundle).items():
                folder = os.path.join(out, f"experts/{part}" if "/" in part else part if part == "single" else f"overall/{part}")
                with self.subTest(name, part=part):
                    if not os.path.exists(os.path.join(folder, "adapter_config.json")):
                        self.check(load(folder), transformers.AutoTokenizer.from_pretrained(folder), wanted, folder)
                        continue
                    with open(os.path.join(folder, "adapter_config.json"), encoding="utf-8") as file:
                        config = json.load(file)
                    base = os.path.join(out, config["base_model_name_or_path"])
                    model = peft.PeftModel.from_pretrained(load(base), folder).eval()
                    stored = load_file(os.path.join(folder, "adapter_model.safetensors"))
                    self.assertTrue(any(key.endswith(("score.weight", "classifier.weight")) for key in stored))
                    places = {key.replace(".default.", ".").replace(".modules_to_save.", ".") for key, _ in model.named_parameters()}
                    self.assertLessEqual(set(stored), {key.replace(".default.weight", ".weight") for key in places})
                    self.check(model, transformers.AutoTokenizer.from_pretrained(base), wanted, folder)

    def test_auto_classes_find_the_base_in_the_folder_of_the_export(self):
        out = self.export(self.bundles["earlier"])
        for card in ("README.md", "experts/chat/tone/README.md"):
            with open(os.path.join(out, card), encoding="utf-8") as file:
                self.assertIn("`AutoPeftModelForSequenceClassification` and `pipeline` therefore find it only in a process that runs in the folder", file.read())
        before = os.getcwd()
        os.chdir(out)
        self.addCleanup(os.chdir, before)
        model = peft.AutoPeftModelForSequenceClassification.from_pretrained("experts/chat/tone").eval()
        wanted = self.wanted(self.bundles["earlier"])["chat/tone"]
        tokenizer = transformers.AutoTokenizer.from_pretrained("base")
        self.check(model, tokenizer, wanted, "AutoPeftModelForSequenceClassification")
        pipe = transformers.pipeline("text-classification", model="experts/chat/tone", tokenizer=tokenizer, function_to_apply="none")
        prompt, response = CONVERSATIONS[0]
        text = tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": response}], tokenize=False)
        self.assertAlmostEqual(pipe(text, add_special_tokens=False)[0]["score"], wanted[0], places=4)

    def test_merged(self):
        for name, bundle in self.bundles.items():
            out = self.export(bundle, "--format", "merged")
            for part, wanted in self.wanted(bundle).items():
                folder = os.path.join(out, f"experts/{part}" if "/" in part else part if part == "single" else f"overall/{part}")
                with self.subTest(name, part=part):
                    self.check(load(folder), transformers.AutoTokenizer.from_pretrained(folder), wanted, folder)

    def test_one_model_for_vllm(self):
        out = self.export(self.bundles["llama"], "--format", "vllm", "--expert", "chat/fact")
        self.check(load(out), transformers.AutoTokenizer.from_pretrained(out), self.wanted(self.bundles["llama"])["chat/fact"], out)
        with open(os.path.join(out, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        self.assertEqual((config["problem_type"], config["id2label"], config["architectures"]), ("regression", {"0": "LABEL_0"}, ["LlamaForSequenceClassification"]))
        self.assertNotEqual(config["pad_token_id"], config["eos_token_id"])
        with open(os.path.join(out, "README.md"), encoding="utf-8") as file:
            self.assertIn("vllm serve DIR --runner pooling", file.read())

    def test_the_chat_template_gives_the_ids_of_training(self):
        for name, bundle in self.bundles.items():
            out = self.export(bundle, "--expert", "chat/tone", "--format", "merged")
            tokenizer, model = transformers.AutoTokenizer.from_pretrained(out), DmoermRewardModel.from_pretrained(bundle)
            for prompt, response in CONVERSATIONS:
                with self.subTest(name, prompt=prompt):
                    turns = [(turn["role"], turn["content"]) for turn in prompt]
                    ids = tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": response}], return_dict=False)
                    self.assertEqual(ids, model._template.ids(turns, response))
                    self.assertEqual(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False), model._template.ids(turns, None))

    def test_the_card_names_the_constants_and_can_be_followed(self):
        out = self.export(self.bundles["llama"])
        with open(os.path.join(out, "README.md"), encoding="utf-8") as file:
            card = file.read()
        constants = load_file(os.path.join(self.bundles["llama"], "aggregator", "chat.safetensors"))
        self.assertIn(f"{constants['reward_mean'][0].item():.9g}", card)
        self.assertIn(f"{constants['reward_std'][1].item():.9g}", card)
        code = card.split("```python\n")[1].split("```")[0]
        done = subprocess.run([sys.executable, "-c", code + "\nprint(float(reward))"], cwd=out, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        float(done.stdout)

    def test_cards_name_licence_and_base_model_for_a_hub(self):
        out = self.export(self.bundles["llama"], "--expert", "chat/fact", "--license", "apache-2.0", "--base-model", "owner/small")
        for card in ("README.md", "experts/chat/fact/README.md"):
            with self.subTest(card), open(os.path.join(out, card), encoding="utf-8") as file:
                self.assertTrue(file.read().startswith('---\nlicense: "apache-2.0"\nbase_model: "owner/small"\nlibrary_name: peft\n'))

    def test_a_compressed_bundle_is_smaller_and_scores_the_same_everywhere(self):
        bundle, out = self.bundles["mistral"], os.path.join(self.folder, "compressed")
        self.assertIn("2 backbones", run("export", "--bundle", bundle, "--out", out, "--compress", "emr"))
        with open(os.path.join(out, "dmoerm.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["schema_version"], 3)
        for folder in ("base/chat", "single"):
            whole, mask = (os.path.getsize(os.path.join(where, folder, "model.safetensors")) for where in (bundle, out))
            self.assertLess(mask, whole / 8)
        prompt, responses = "say 3 words", ["fair enough", "poor 1", "so so"]
        question = json.dumps({"prompt": prompt, "responses": responses})
        for category in ("chat", None):
            more = ["--category", category] if category else []
            done = subprocess.run([PROGRAM, "score", "--threads", "1", "--bundle", out, *more], input=question, capture_output=True, text=True, check=True)
            results = DmoermRewardModel.from_pretrained(out).score(prompt, responses, category)
            for ours, theirs in zip(results, json.loads(done.stdout)["scores"], strict=True):
                self.assertLessEqual(abs(ours.reward - theirs), 1e-4 * (1 + abs(theirs)))
        self.assertIn("experts/chat/fact", run("export", "--bundle", out, "--out", os.path.join(self.folder, "of_compressed"), "--format", "merged"))
        self.assertIn("[nothing-to-compress]", run("export", "--bundle", self.bundles["llama"], "--out", os.path.join(self.folder, "no"), "--compress", "emr", code=2))

    def test_a_signal_leaves_nothing_behind(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            folder = tempfile.mkdtemp(dir=self.folder)
            with subprocess.Popen([PROGRAM, "export", "--bundle", EARLIER, "--out", os.path.join(folder, "out")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as export:
                while not os.listdir(folder) and export.poll() is None:
                    time.sleep(0.002)
                export.send_signal(number)
                said = export.stderr.read()
            with self.subTest(number=number):
                if export.returncode != 0:  # a signal that comes after the last model was compared stops nothing
                    self.assertEqual(export.returncode, 3, said)
                    self.assertIn(f"was stopped by {number.name}; nothing was written [stopped-while-exporting]", said)
                self.assertEqual(os.listdir(folder), [] if export.returncode else ["out"])

    def test_refusals(self):
        bundle = self.bundles["llama"]
        filled = os.path.join(self.folder, "filled")
        os.makedirs(os.path.join(filled, "x"))
        self.assertIn("[output-not-empty]", run("export", "--bundle", bundle, "--out", filled, code=2))
        self.assertIn("[output-lies-in-bundle]", run("export", "--bundle", bundle, "--out", os.path.join(bundle, "out"), code=2))
        out = os.path.join(self.folder, "above", "absent")
        said = run("export", "--bundle", bundle, "--out", out, "--expert", "chat/humour", code=2)
        self.assertIn("chat/tone, chat/fact", said)
        self.assertIn("[unknown-expert]", said)
        self.assertIn("[not-a-bundle]", run("export", "--bundle", os.path.join(self.folder, "llama", "model"), "--out", out, code=2))
        self.assertFalse(os.path.exists(os.path.dirname(out)), "a refused export leaves a folder")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
