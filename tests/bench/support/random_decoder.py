"""A decoder of Qwen2.5-1.5B's shapes, or smaller, with random bfloat16 weights, for measurements of speed.

    random_decoder.py --out DIR [--set hidden_size=64 ...]
"""
import argparse
import json
import os

import torch

SHAPE = {"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
         "num_key_value_heads": 2, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "hidden_act": "silu", "tie_word_embeddings": True}


def tensor_shapes(c):
    """Names and shapes of a bare model of the configuration."""
    d, kv = c["hidden_size"], c["hidden_size"] // c["num_attention_heads"] * c["num_key_value_heads"]
    yield "embed_tokens.weight", [c["vocab_size"], d]
    for i in range(c["num_hidden_layers"]):
        for name, rows in (("q", d), ("k", kv), ("v", kv)):
            yield f"layers.{i}.self_attn.{name}_proj.weight", [rows, d]
            yield f"layers.{i}.self_attn.{name}_proj.bias", [rows]
        yield f"layers.{i}.self_attn.o_proj.weight", [d, d]
        for name in ("gate", "up"):
            yield f"layers.{i}.mlp.{name}_proj.weight", [c["intermediate_size"], d]
        yield f"layers.{i}.mlp.down_proj.weight", [d, c["intermediate_size"]]
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"layers.{i}.{name}.weight", [d]
    yield "norm.weight", [d]


def write_model(folder, config):
    """A Hugging Face directory of random bfloat16 weights."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    header, end = {}, 0
    for name, shape in tensor_shapes(config):
        size = 2 * int(torch.tensor(shape).prod())
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    torch.manual_seed(1)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensor_shapes(config):
            values = torch.ones(shape) if "norm" in name else torch.randn(shape) * 0.02
            file.write(values.to(torch.bfloat16).contiguous().view(torch.uint8).numpy().tobytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--set", nargs="*", default=[], help="KEY=NUMBER of the configuration")
    given = parser.parse_args()
    write_model(given.out, SHAPE | {key: int(number) for key, number in (one.split("=") for one in given.set)})
