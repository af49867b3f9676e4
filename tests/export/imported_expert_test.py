#!/usr/bin/env python3
"""A PEFT adapter with its head becomes the expert of one point of a run: the bundle holds its rewards, the aggregator is fitted over it, and another
adapter in its place redoes that expert and what reads it.

Usage: imported_expert_test.py PROGRAM [unittest arguments].   Skipped without transformers and peft (launch/setup.sh --with tests)."""
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
    import tiny_run
    import torch
    import transformers
except ImportError as missing:
    print(f"skipped: {missing} (launch/setup.sh --with tests)")
    sys.exit(77)

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
IDS = [[5, 9, 14, 3], [7, 2, 11], [4, 4, 8, 15, 6]]


class ImportedExpert(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="dmoerm_imported_")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model = os.path.join(cls.folder, "model")
        tiny_run.make_model("llama", cls.model)

    def classifier(self):
        return transformers.AutoModelForSequenceClassification.from_pretrained(self.model, num_labels=1)

    def adapter(self, folder, seed, **settings):
        """Save a random adapter of peft with its head. @return its rewards of IDS"""
        torch.manual_seed(seed)
        model = peft.get_peft_model(self.classifier(), peft.LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=7, init_lora_weights=False, **settings))
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if "modules_to_save" in name:
                    tensor.normal_()
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        return self.rewards(model)

    def rewards(self, model):
        with torch.no_grad():
            return [model.eval()(input_ids=torch.tensor([ids])).logits.item() for ids in IDS]

    def bundle_rewards(self, bundle):
        """Rewards of the bundle's expert as peft reads it over the base."""
        return self.rewards(peft.PeftModel.from_pretrained(self.classifier(), os.path.join(bundle, "experts", "chat", "tone")))

    def again(self, scratch, *more):
        return subprocess.run([PROGRAM, "run", "--config", os.path.join(scratch, "c.yaml"), *more], capture_output=True, text=True, check=False)

    def test_a_run_takes_it_over_and_notices_a_change(self):
        scratch = tempfile.mkdtemp(dir=self.folder)
        adapter = os.path.join(scratch, "adapter")
        wanted = self.adapter(adapter, 5, use_rslora=True)
        settings = {"backbone": {"layers": 0}, "categories": [{"name": "chat", "points": ["tone", "fact"], "imported_experts": [{"point": "tone", "dir": adapter}]}]}
        bundle = tiny_run.run(PROGRAM, self.model, scratch, settings=settings)
        for ours, theirs in zip(self.bundle_rewards(bundle), wanted, strict=True):
            self.assertAlmostEqual(ours, theirs, delta=1e-4 * (1 + abs(theirs)))
        scored = subprocess.run([PROGRAM, "score", "--bundle", bundle, "--category", "chat"], input=json.dumps({"prompt": "say 3 words", "responses": ["good 1", "poor 2"]}) + "\n",
                                capture_output=True, text=True, check=False)
        self.assertEqual(scored.returncode, 0, scored.stderr)
        self.assertIn("tone", scored.stdout)
        with open(os.path.join(scratch, "r", "report", "report.md"), encoding="utf-8") as report:
            self.assertIn(f"Taken over from elsewhere, not trained by this run: chat/tone ({adapter}).", report.read())
        page, card = os.path.join(scratch, "r.html"), os.path.join(scratch, "CARD.md")
        subprocess.run([PROGRAM, "report", os.path.join(scratch, "r"), "--out", page, "--card", card], capture_output=True, check=True)
        for written in (page, card):
            with open(written, encoding="utf-8") as file:
                self.assertIn("Taken over from elsewhere, not trained by this run: chat/tone", file.read(), written)

        unchanged = self.again(scratch)
        self.assertEqual(unchanged.returncode, 0, unchanged.stderr)
        changed = self.adapter(adapter, 6)
        self.assertGreater(max(abs(a - b) for a, b in zip(changed, wanted, strict=True)), 1e-2)
        refused = self.again(scratch)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("imported", refused.stderr)
        self.assertIn("expert/chat/tone", refused.stderr)
        updated = self.again(scratch, "--update")
        self.assertEqual(updated.returncode, 0, updated.stderr)
        for task in ("expert/chat/tone", "features/chat", "aggregator/chat"):
            self.assertIn(f"task={task} is done again", updated.stderr)
        for task in ("base/chat", "expert/chat/fact"):
            self.assertNotIn(f"task={task} is done again", updated.stderr)
        for ours, theirs in zip(self.bundle_rewards(bundle), changed, strict=True):
            self.assertAlmostEqual(ours, theirs, delta=1e-4 * (1 + abs(theirs)))

    def test_what_an_expert_cannot_be_is_refused_before_any_work(self):
        scratch = tempfile.mkdtemp(dir=self.folder)
        adapter = os.path.join(scratch, "adapter")
        self.adapter(adapter, 5, target_modules=["q_proj", "k_proj"])
        settings = {"backbone": {"layers": 0}, "categories": [{"name": "chat", "points": ["tone", "fact"], "imported_experts": [{"point": "tone", "dir": adapter}]}]}
        with self.assertRaises(SystemExit) as refused:
            tiny_run.run(PROGRAM, self.model, scratch, settings=settings)
        self.assertIn("k_proj", str(refused.exception))
        self.assertIn("[adapter-unsupported]", str(refused.exception))
        self.assertFalse(os.path.exists(os.path.join(scratch, "r", "base")))


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
