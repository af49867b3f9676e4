#!/usr/bin/env python3
"""Loads a decoder bundle's base and experts with transformers and peft and compares each expert's reward with `dmoerm score`.

Usage: bundle_transformers.py BUNDLE DMOERM [--tolerance 1e-4]     The bundle must use the chatml template. Exits 1 on a difference.
"""
import argparse
import json
import os
import subprocess
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

PROMPT = "How do I keep bread fresh for longer?"
RESPONSES = ["Store it in a paper bag.", "Freeze what you will not eat within two days, in slices.", "No."]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("dmoerm")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    a = parser.parse_args()
    with open(os.path.join(a.bundle, "dmoerm.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    if manifest["template"]["name"] != "chatml":
        raise SystemExit("this check renders chatml only")
    tokenizer = AutoTokenizer.from_pretrained(os.path.join(a.bundle, "base"))
    texts = [f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n{r}<|im_end|>" for r in RESPONSES]
    worst, compared = 0.0, 0
    for category in manifest["categories"]:
        question = json.dumps({"prompt": PROMPT, "responses": RESPONSES})
        out = subprocess.run([a.dmoerm, "score", "--bundle", a.bundle, "--category", category["name"]], input=question, capture_output=True, text=True, check=True)
        ours = json.loads(out.stdout)["points"]
        scale = load_file(os.path.join(a.bundle, "aggregator", category["name"] + ".safetensors"))
        for k, point in enumerate(category["points"]):
            base = AutoModelForSequenceClassification.from_pretrained(os.path.join(a.bundle, category["base"]))
            model = PeftModel.from_pretrained(base, os.path.join(a.bundle, "experts", category["name"], point)).eval()
            with torch.no_grad():
                theirs = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.flatten().tolist()
            for reward, points in zip(theirs, ours):
                raw = points[point] * scale["reward_std"][k].item() + scale["reward_mean"][k].item()
                worst, compared = max(worst, abs(raw - reward)), compared + 1
    print(f"{compared} rewards compared with transformers and peft, largest difference {worst:.2e}")
    sys.exit(0 if compared and worst <= a.tolerance else 1)


if __name__ == "__main__":
    main()
