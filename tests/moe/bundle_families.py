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
import tiny_model  # noqa: E402

PROMPT = "How do I keep bread fresh?"
RESPONSES = ["In a paper bag.", "Freeze what you will not eat, in slices.", "No."]
TOLERANCE = 2e-5
SHAPE = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 256}
DECODER = dict(SHAPE, num_key_value_heads=2, head_dim=12)
FAMILIES = {
    "llama": dict(DECODER, attention_bias=True, mlp_bias=True, rope_theta=5e4,
                  rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
    "mistral": dict(DECODER, sliding_window=200),
    "qwen2": dict({k: v for k, v in DECODER.items() if k != "head_dim"}),
    "qwen3": dict(DECODER, head_dim=16),
    "bert": dict(SHAPE, type_vocab_size=2),
}


def make_model(family, directory):
    os.makedirs(directory)
    with open(os.path.join(directory, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(tiny_model.tokenizer(), f)
    rows = len(tiny_model.vocabulary())
    config = transformers.AutoConfig.for_model(family, vocab_size=rows, pad_token_id=0, **FAMILIES[family])
    torch.manual_seed(3)
    model = transformers.AutoModel.from_config(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.randn_like(tensor) * 0.15 + (1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0))
    model.save_pretrained(directory)


def run(dmoerm, model, scratch):
    rows = os.path.join(scratch, "rows.jsonl")
    with open(rows, "w", encoding="utf-8") as f:
        for i in range(40):
            responses = [{"text": f"{word} {i % 9}", "overall": n, "scores": {"tone": n, "fact": 2 - n}} for n, word in enumerate(("poor", "fair", "good"))]
            f.write(json.dumps({"id": str(i), "category": "chat", "split": "train" if i < 30 else "validation" if i < 35 else "test",
                                "prompt": f"say {i % 7} words of {i}", "responses": responses}) + "\n")
    config = {"name": "r", "runs_dir": scratch, "backbone": {"dir": model, "chat_template": "dmoerm", "layers": 2},
              "compute": {"device": "cpu", "micro_batch_tokens": 256}, "data": {"inputs": [{"path": rows}], "max_length": 96, "min_prompt_tokens": 8},
              "categories": [{"name": "chat", "points": ["tone", "fact"]}], "router": {"steps_max": 5},
              "base": {"tuning": "lora", "lora_rank": 2, "lr": 1e-2, "groups_per_step": 4, "steps_max": 4, "eval_every_steps": 2},
              "experts": {"labels_min": 4, "train": {"lora_rank": 2, "lr": 1e-2, "groups_per_step": 4, "steps_max": 4, "eval_every_steps": 2}},
              "aggregator": {"steps_max": 5}, "baselines": False}
    path = os.path.join(scratch, "c.yaml")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    done = subprocess.run([dmoerm, "run", "--config", path], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the run failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return os.path.join(scratch, "r", "bundle")


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
        make_model(family, os.path.join(scratch, "model"))
        bundle = run(dmoerm, os.path.join(scratch, "model"), scratch)
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
    dmoerm, families = sys.argv[1], sys.argv[2:] or list(FAMILIES)
    sys.exit(0 if all([check(dmoerm, family) for family in families]) else 1)


if __name__ == "__main__":
    main()
