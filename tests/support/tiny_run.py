"""Bundles of tiny random models of every family, made by a short run. Needs transformers."""
import json
import os
import subprocess

import tiny_model
import torch
import transformers

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


def _merge(into, settings):
    for key, value in settings.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def run(dmoerm, model, scratch, categories=("chat",), settings=None):
    """A run of a few steps; returns the folder of its bundle. `settings` are laid over the configuration."""
    rows = os.path.join(scratch, "rows.jsonl")
    with open(rows, "w", encoding="utf-8") as f:
        for i in range(40 * len(categories)):
            which, n = divmod(i, 40)
            responses = [{"text": f"{word} {i % 9}", "overall": k, "scores": {"tone": k, "fact": 2 - k}} for k, word in enumerate(("poor", "fair", "good"))]
            f.write(json.dumps({"id": str(i), "category": categories[which], "split": "train" if n < 30 else "validation" if n < 35 else "test",
                                "prompt": f"{'say' if which == 0 else 'tell me ' + categories[which]} {i % 7} words of {i}", "responses": responses}) + "\n")
    config = {"name": "r", "runs_dir": scratch, "backbone": {"dir": model, "chat_template": "dmoerm", "layers": 2},
              "compute": {"device": "cpu", "micro_batch_tokens": 256}, "data": {"inputs": [{"path": rows}], "max_length": 96, "min_prompt_tokens": 8},
              "categories": [{"name": c, "points": ["tone", "fact"]} for c in categories], "router": {"steps_max": 5}, "folds": 0,
              "base": {"tuning": "lora", "lora_rank": 2, "lr": 1e-2, "groups_per_step": 4, "steps_max": 4, "eval_every_steps": 2},
              "experts": {"labels_min": 4, "train": {"lora_rank": 2, "lr": 1e-2, "groups_per_step": 4, "steps_max": 4, "eval_every_steps": 2}},
              "aggregator": {"steps_max": 5}, "baselines": False}
    _merge(config, settings or {})
    path = os.path.join(scratch, "c.yaml")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    done = subprocess.run([dmoerm, "run", "--config", path], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the run failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return os.path.join(scratch, "r", "bundle")
