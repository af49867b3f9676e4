"""A bundle over a real decoder with made-up weights, for measurements of speed.

    made_up_bundle.py --model DIR --out DIR --program DMOERM [--categories 2 --points 3 --rank 16 --max-length 512 --top-layers 0 --router-layers 0 --batch-tokens 2048 --dtype float32 --device cpu --whole]

Every category has `--points` experts, LoRA adapters on q and v of all layers or of the top ones, with random values; the router and the aggregators (kind stack) are random too, and no prompt goes to the
single model. The router reads the mean state of a prompt after `--router-layers` layers, or after all of them. With `--whole` every category and the single model have a backbone of their own, as training of all weights leaves it: the model with random changes.
With `--dtype bfloat16` the base has bfloat16 weights and the bundle is computed in them, as a run with compute.dtype: bfloat16 leaves it. `--device` computes the golden scores.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
EARLIER = os.path.join(HERE, "..", "..", "golden", "earlier", "bundle", "dmoerm.json")
GOLDEN = {"prompt": [{"role": "user", "content": "How do I keep bread fresh for longer?"}], "responses": ["Store it in a paper bag at room temperature.", "Bread is bread."]}

ARCHITECTURES = {"llama": "LlamaForSequenceClassification", "qwen2": "Qwen2ForSequenceClassification"}
CHANGE = 0.05  # of backbones of their own, in deviations of each tensor


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)


def make_base(model, out, change=0.0, dtype="float32"):
    """The model as a sequence classifier, its weights moved by `change` times their deviation. In float32 the tensors stay as they are, or wider where they are moved. -> its configuration"""
    shutil.copytree(model, out, ignore=shutil.ignore_patterns("*.safetensors", "PROVENANCE.json"))
    tensors = load_file(os.path.join(model, "model.safetensors"))
    if "embed_tokens.weight" in tensors:  # a bare model
        tensors = {"model." + name: tensor for name, tensor in tensors.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    if change:
        tensors = {name: tensor.float() + torch.randn(tensor.shape) * tensor.float().std() * change for name, tensor in tensors.items()}
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    tensors["score.weight"] = torch.randn(1, config["hidden_size"]) * 0.02
    if dtype == "bfloat16":
        tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
        config["dtype"] = dtype
    save_file(tensors, os.path.join(out, "model.safetensors"), {"format": "pt"})
    config.update(architectures=[ARCHITECTURES[config["model_type"]]], num_labels=1, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0}, pad_token_id=config["vocab_size"] - 1)
    write_json(os.path.join(out, "config.json"), config)
    return config


def make_adapter(config, rank, out, top_layers=0):
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    wide = {"q_proj": hidden, "v_proj": hidden // heads * config.get("num_key_value_heads", heads)}
    tensors = {"base_model.model.score.weight": torch.randn(1, hidden) * 0.02}
    layers = config["num_hidden_layers"]
    adapted = list(range(layers - top_layers if top_layers else 0, layers))
    for layer in adapted:
        for name, width in wide.items():
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[at + ".lora_A.weight"] = torch.randn(rank, hidden) * 0.02
            tensors[at + ".lora_B.weight"] = torch.randn(width, rank) * 0.02
    write_json(os.path.join(out, "adapter_config.json"), {
        "base_model_name_or_path": None, "bias": "none", "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "lora_alpha": 2.0 * rank, "lora_dropout": 0.0,
        "layers_to_transform": adapted if top_layers else None, "modules_to_save": ["score"], "peft_type": "LORA", "r": rank, "target_modules": list(wide), "task_type": "SEQ_CLS"})
    save_file(tensors, os.path.join(out, "adapter_model.safetensors"), {"format": "pt"})


def make_bundle(model, out, program, categories=2, points=3, rank=16, max_length=512, top_layers=0, router_layers=0, whole=False, seed=7, dtype="float32", device="cpu", all_golden=True, batch_tokens=2048):
    """Writes the bundle unless the folder exists. Without `all_golden` it has the golden scores of the routed text only, for which the program loads it once instead of once a category."""
    if os.path.exists(os.path.join(out, "dmoerm.json")):
        return
    torch.manual_seed(seed)
    part = out + ".part"
    shutil.rmtree(part, ignore_errors=True)
    config = make_base(model, os.path.join(part, "base"), dtype=dtype)
    names = [f"category_{c}" for c in range(categories)]
    hidden, path = config["hidden_size"], lambda *words: os.path.join(part, *words)
    write_json(path("router", "router.json"), {"categories": names, "confidence_min": 0.0, "pooling": "mean", "temperature": 1.0, "layers": router_layers})
    save_file({"mean": torch.zeros(hidden), "std": torch.ones(hidden), "weight": torch.randn(categories, hidden) * 0.1, "bias": torch.zeros(categories)}, path("router", "router.safetensors"), {"format": "pt"})
    if whole:
        make_base(model, path("single"), CHANGE, dtype)
    else:
        make_adapter(config, rank, path("single"), top_layers)
    os.makedirs(path("aggregator"))
    for name in names:
        if whole:
            make_base(model, path("base", name), CHANGE, dtype)
        for point in range(points):
            make_adapter(config, rank, path("experts", name, f"point_{point}"), top_layers)
        meta = {"format": "pt", "kind": "stack", "version": "2", "reads_base": "false", "variance_price": "0", "best_step": "0", "validation_accuracy": "0"}
        save_file({"reward_mean": torch.zeros(points), "reward_std": torch.ones(points), "weight": torch.rand(points)}, path("aggregator", name + ".safetensors"), meta)
    with open(EARLIER, encoding="utf-8") as file:
        manifest = json.load(file)
    manifest.update(schema_version=2, dtype=dtype, batch_tokens=batch_tokens, max_length=max_length, min_prompt_tokens=32, golden=[], single="checkpoint" if whole else "adapter", provenance={"run": "made up", "seed": seed},
                    categories=[{"name": name, "base": f"base/{name}" if whole else "base", "aggregator": "stack", "points": [f"point_{p}" for p in range(points)]} for name in names],
                    single_stats={"count": 2, "mean": 0.0, "std": 1.0}, score_stats={name: {"count": 2, "mean": 0.0, "std": 1.0} for name in names}, files={})
    for folder, _, files in os.walk(part):
        for file in files:
            whole = os.path.join(folder, file)
            with open(whole, "rb") as stream:
                manifest["files"][os.path.relpath(whole, part)] = hashlib.file_digest(stream, "sha256").hexdigest()
    write_json(path("dmoerm.json"), manifest)
    manifest["golden"] = [golden_of(program, part, category, device) for category in ["", *(names if all_golden else [])]]
    write_json(path("dmoerm.json"), manifest)
    os.rename(part, out)


def golden_of(program, bundle, category, device="cpu"):
    command = [program, "score", "--bundle", bundle, "--threads", "1", *([] if device == "cpu" else ["--device", device])] + (["--category", category] if category else [])
    done = subprocess.run(command, input=json.dumps(GOLDEN) + "\n", capture_output=True, text=True, check=True)
    return {**GOLDEN, "category": category, "scores": json.loads(done.stdout)["scores"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--program", required=True)
    for name, number in (("categories", 2), ("points", 3), ("rank", 16), ("max-length", 512), ("top-layers", 0), ("router-layers", 0), ("batch-tokens", 2048)):
        parser.add_argument("--" + name, type=int, default=number)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    make_bundle(**vars(given))
