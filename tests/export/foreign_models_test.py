#!/usr/bin/env python3
"""`dmoerm eval` gives to reward models of other programs the rewards that transformers and peft give: classifiers of every family, adapters with
their base, heads of other names; models that would be read wrongly are refused.

Usage: foreign_models_test.py PROGRAM [unittest arguments].   Skipped without transformers and peft (launch/setup.sh --with tests)."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other are slow on a busy machine
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
try:
    import peft
    import tiny_model
    import tiny_run
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing} (launch/setup.sh --with tests)")
    sys.exit(77)

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
ROWS = [{"id": f"r{i}", "prompt": f"say {i} words", "responses": [{"text": f"fine {i}", "overall": 1}, {"text": "no way at all", "overall": 0}]} for i in range(6)]


class ForeignModels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="dmoerm_foreign_")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        with open(cls.path("rows.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in ROWS)

    @classmethod
    def path(cls, *parts):
        return os.path.join(cls.folder, *parts)

    @classmethod
    def tokenizer(cls, *folders):
        for folder in folders:
            with open(cls.path(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
                json.dump(tiny_model.tokenizer(), file)

    def classifier(self, family, folder, labels=1, kind="AutoModelForSequenceClassification"):
        """A random classifier, saved with a tokenizer."""
        config = transformers.AutoConfig.for_model(family, vocab_size=len(tiny_model.vocabulary()), pad_token_id=0, num_labels=labels, **tiny_run.FAMILIES[family])
        torch.manual_seed(5)
        model = getattr(transformers, kind).from_config(config).eval()
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                tensor.copy_(torch.randn_like(tensor) * 0.15 + (1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0))
        model.save_pretrained(self.path(folder))
        self.tokenizer(folder)
        return model

    def ids(self, folder):
        lines = "".join(json.dumps({"prompt": [{"role": "user", "content": row["prompt"]}], "response": r["text"]}) + "\n" for row in ROWS for r in row["responses"])
        command = [PROGRAM, "inspect", "tokens", "--model", self.path(folder), "--template", "dmoerm"]
        return [json.loads(line) for line in subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout.splitlines()]

    def eval(self, folder, *more, code=0):
        out = tempfile.mkdtemp(dir=self.folder)
        done = subprocess.run([PROGRAM, "eval", "--model", f"x={self.path(folder)}", "--template", "dmoerm", "--data", self.path("rows.jsonl"), "--out", out,
                               "--resamples", "100", "--threads", "1", *more], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        if code != 0:
            return done.stderr
        with open(os.path.join(out, "eval.json"), encoding="utf-8") as file:
            return [score for group in json.load(file)["groups"] for score in group["scores"]["x"]]

    def same(self, model, folder, base=None, *more):
        with torch.no_grad():
            wanted = [model.eval()(input_ids=torch.tensor([ids])).logits.item() for ids in self.ids(base or folder)]
        self.assertGreater(max(wanted) - min(wanted), 1e-2)
        for ours, theirs in zip(self.eval(folder, *more), wanted, strict=True):
            self.assertLessEqual(abs(ours - theirs), 1e-4 * (1 + abs(theirs)), folder)

    def test_classifiers(self):
        for family in tiny_run.FAMILIES:
            with self.subTest(family):
                self.same(self.classifier(family, family), family)

    def test_a_padding_token_that_ends_the_template(self):
        model = self.classifier("llama", "padded")
        model.config.pad_token_id = self.ids("padded")[0][-1]
        self.assertTrue(all(ids[-1] == model.config.pad_token_id for ids in self.ids("padded")))
        model.save_pretrained(self.path("padded"))
        self.same(model, "padded")

    def test_adapters_over_their_base(self):
        for family, settings in (("llama", {"use_rslora": True, "target_modules": "all-linear"}), ("qwen3", {"target_modules": ["q_proj", "v_proj", "up_proj"]}),
                                 ("bert", {"target_modules": ["query", "value", "dense"], "modules_to_save": ["classifier"]})):
            with self.subTest(family):
                base = f"{family}_base"
                model = self.classifier(family, base)
                torch.manual_seed(7)
                adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=9, init_lora_weights=False, **settings))
                with torch.no_grad():
                    for name, tensor in adapted.named_parameters():
                        if "modules_to_save" in name and name.endswith("weight"):
                            tensor.normal_()
                adapted.save_pretrained(self.path(f"{family}_adapter"))
                if family == "bert":  # peft puts LoRA on the pooler too, which is not part of the backbone
                    self.assertIn("[adapter-unsupported]", self.eval(f"{family}_adapter", "--base", self.path(base), code=2))
                    continue
                self.same(adapted, f"{family}_adapter", base, "--base", self.path(base))
                config = self.path(f"{family}_adapter", "adapter_config.json")
                with open(config, encoding="utf-8") as file:
                    text = json.load(file)
                for key, value in (("init_lora_weights", "pissa"), ("init_lora_weights", "olora"), ("alora_invocation_tokens", [5]), ("layer_replication", [[0, 1]]),
                                   ("use_dora", True), ("alpha_pattern", {"q_proj": 3}), ("a_setting_of_tomorrow", 1)):
                    with open(config, "w", encoding="utf-8") as file:
                        json.dump(dict(text, **{key: value}), file)
                    self.assertIn(f"{key}: ", self.eval(f"{family}_adapter", "--base", self.path(base), code=2))
                with open(config, "w", encoding="utf-8") as file:
                    json.dump(dict(text, base_model_name_or_path=base), file)
                self.same(adapted, f"{family}_adapter", base)
                with open(config, "w", encoding="utf-8") as file:
                    json.dump(dict(text, base_model_name_or_path="their/model"), file)
                self.assertIn("[adapter-base-not-found]", self.eval(f"{family}_adapter", code=2))

    def test_heads_of_other_names(self):
        model = self.classifier("llama", "named")
        whole = load_file(self.path("named", "model.safetensors"))
        head = whole.pop("score.weight")
        save_file({**whole, "value_head.weight": head}, self.path("named", "model.safetensors"))
        self.same(model, "named")
        save_file(whole, self.path("named", "model.safetensors"))
        self.assertIn("[head-missing]", self.eval("named", code=2))
        save_file({"v_head.summary.weight": head, "v_head.summary.bias": torch.tensor([0.5])}, self.path("named", "value_head.safetensors"))
        scores = self.eval("named")
        save_file({**whole, "score.weight": head}, self.path("named", "model.safetensors"))
        os.remove(self.path("named", "value_head.safetensors"))
        for ours, theirs in zip(scores, self.eval("named"), strict=True):
            self.assertAlmostEqual(ours - 0.5, theirs, places=4)

    def test_in_an_ensemble(self):
        self.classifier("qwen2", "member")
        out = tempfile.mkdtemp(dir=self.folder)
        subprocess.run([PROGRAM, "eval", "--model", f"x={self.path('member')}", "--model", "length", "--model", "both=mean(x,length)", "--template", "dmoerm",
                        "--data", self.path("rows.jsonl"), "--out", out, "--threads", "1", "--resamples", "100"], capture_output=True, text=True, check=True)
        with open(os.path.join(out, "eval.json"), encoding="utf-8") as file:
            self.assertEqual(set(json.load(file)["groups"][0]["scores"]), {"x", "length", "both"})

    def test_what_would_be_read_wrongly_is_refused(self):
        self.classifier("llama", "two", labels=2)
        self.assertIn("[several-labels]", self.eval("two", code=2))
        self.classifier("llama", "language", kind="AutoModelForCausalLM")
        self.assertIn("[head-missing]", self.eval("language", code=2))
        model = self.classifier("llama", "lost_base")
        lost = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "score"]))
        lost.save_pretrained(self.path("lost"))
        self.assertIn("[head-lost]", self.eval("lost", "--base", self.path("lost_base"), code=2))
        dora = peft.get_peft_model(self.classifier("llama", "dora_base"), peft.LoraConfig(task_type="SEQ_CLS", r=2, use_dora=True, target_modules=["q_proj"]))
        dora.save_pretrained(self.path("dora"))
        self.assertIn("use_dora", self.eval("dora", "--base", self.path("dora_base"), code=2))
        narrow = peft.get_peft_model(self.classifier("qwen2", "narrow_base"), peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["k_proj"]))
        narrow.save_pretrained(self.path("narrow"))
        self.classifier("qwen3", "other_base")
        self.assertIn("[tensor-shape-differs]", self.eval("narrow", "--base", self.path("other_base"), code=2))


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
