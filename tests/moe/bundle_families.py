#!/usr/bin/env python3
"""For every family of backbones: a tiny random model, a short run, and its bundle read with transformers and peft.

Everything that the bundle has in their layout must load without a missing or unexpected tensor, and give each expert's reward (and the
single model's) as `dmoerm score` does. Usage: bundle_families.py DMOERM [FAMILY...]   Exits 1 at the first difference.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import tiny_run  # noqa: E402

PROMPT = "How do I keep bread fresh?"
RESPONSES = ["In a paper bag.", "Freeze what you will not eat, in slices.", "No."]
TOLERANCE = 2e-5


def ids_of(dmoerm, bundle):
    lines = "".join(json.dumps({"prompt": [{"role": "user", "content": PROMPT}], "response": r}) + "\n" for r in RESPONSES)
    command = [dmoerm, "inspect", "tokens", "--model", os.path.join(bundle, "base"), "--template", "dmoerm"]
    out = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    return [torch.tensor([json.loads(line)]) for line in out.splitlines()]


def rewards(model, ids):
    with torch.no_grad():
        return [model(input_ids=one).logits.item() for one in ids]


def load(where):
    model, about = AutoModelForSequenceClassification.from_pretrained(where, output_loading_info=True)
    wrong = {k: v for k, v in about.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
    if wrong:
        raise SystemExit(f"{where}: transformers reports {wrong}")
    return model


def adapted(where, adapter):
    model = PeftModel.from_pretrained(load(where), adapter)
    stored = load_file(os.path.join(adapter, "adapter_model.safetensors"))
    held = {name.replace(".default.", ".").replace(".modules_to_save.", "."): tensor for name, tensor in model.named_parameters()}
    for name, tensor in stored.items():
        if name not in held and name.replace(".weight", ".default.weight") not in held:
            raise SystemExit(f"{adapter}: peft has no place for {name}")
    absent = [n for n in held if ("lora_" in n or ".classifier." in n or ".score." in n) and "original_module" not in n and n not in stored]
    if absent:
        raise SystemExit(f"{adapter}: peft wants {absent}, which the adapter does not hold")
    return model.eval()


def check(dmoerm, family):
    with tempfile.TemporaryDirectory() as scratch:
        tiny_run.make_model(family, os.path.join(scratch, "model"))
        bundle = tiny_run.run(dmoerm, os.path.join(scratch, "model"), scratch)
        ids, worst = ids_of(dmoerm, bundle), 0.0
        question = json.dumps({"prompt": PROMPT, "responses": RESPONSES})
        out = subprocess.run([dmoerm, "score", "--bundle", bundle, "--category", "chat"], input=question, capture_output=True, text=True, check=True)
        ours = json.loads(out.stdout)["points"]
        scale = load_file(os.path.join(bundle, "aggregator", "chat.safetensors"))
        spread = 0.0
        for k, point in enumerate(["tone", "fact"]):
            theirs = rewards(adapted(os.path.join(bundle, "base"), os.path.join(bundle, "experts", "chat", point)), ids)
            spread = max(spread, max(theirs) - min(theirs))
            for reward, points in zip(theirs, ours):
                worst = max(worst, abs(points[point] * scale["reward_std"][k].item() + scale["reward_mean"][k].item() - reward))
        if os.path.exists(os.path.join(bundle, "single", "adapter_config.json")):
            adapted(os.path.join(bundle, "base"), os.path.join(bundle, "single"))
        else:
            load(os.path.join(bundle, "single"))
        print(f"{family}: rewards of two experts differ by at most {worst:.1e} (their spread is {spread:.2f})")
        return worst <= TOLERANCE and spread > 10 * TOLERANCE


def main():
    transformers.logging.set_verbosity_error()
    dmoerm, families = sys.argv[1], sys.argv[2:] or list(tiny_run.FAMILIES)
    sys.exit(0 if all([check(dmoerm, family) for family in families]) else 1)


if __name__ == "__main__":
    main()
