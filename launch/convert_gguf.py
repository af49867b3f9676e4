#!/usr/bin/env python3
"""Converts the GGUF file of SmolLM2 (Llama architecture, byte-level BPE) to a Hugging Face directory.

Usage: convert_gguf.py FILE.gguf OUT_DIR

Needs numpy and safetensors only. Weights are dequantised to float32. Two things that a plain copy would get wrong:
GGUF keeps the rows of q_proj and k_proj interleaved for its own rotary layout, and the tokenizer splits every digit
off before the byte-level step, which is written into tokenizer.json.
"""
import hashlib
import json
import mmap
import os
import struct
import sys

import numpy as np
from safetensors.numpy import save_file

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9


class Gguf:
    """Header, key-value pairs and tensor table of a GGUF file, version 2 or 3."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.data = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = 0
        magic, version = self.data[:4], struct.unpack_from("<I", self.data, 4)[0]
        if magic != b"GGUF" or version not in (2, 3):
            raise SystemExit(f"{path}: not a GGUF file of version 2 or 3")
        tensors, pairs = struct.unpack_from("<QQ", self.data, 8)
        self.at = 24
        self.values = {}
        for _ in range(pairs):
            key = self.string()
            self.values[key] = self.value(self.scalar("<I"))
        table = []
        for _ in range(tensors):
            name = self.string()
            shape = [self.scalar("<Q") for _ in range(self.scalar("<I"))]
            table.append((name, shape[::-1], self.scalar("<I"), self.scalar("<Q")))
        align = self.values.get("general.alignment", 32)
        base = (self.at + align - 1) // align * align
        self.tensors = {name: (shape, kind, base + offset) for name, shape, kind, offset in table}

    def scalar(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self):
        length = self.scalar("<Q")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, count = self.scalar("<I"), self.scalar("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.scalar(SCALARS[kind])

    def tensor(self, name):
        """The tensor as float32."""
        shape, kind, begin = self.tensors[name]
        count = int(np.prod(shape))
        if kind not in BLOCKS:
            raise SystemExit(f"{name}: quantisation {kind} is not handled (F32, F16, Q4_0, Q4_1, Q8_0)")
        values, size, decode = BLOCKS[kind]
        raw = np.frombuffer(self.data, np.uint8, count // values * size, begin).reshape(-1, size)
        return decode(raw).reshape(shape)


def half(raw):
    return raw.view(np.float16).astype(np.float32)


def nibbles(raw):
    """Low halves of 16 bytes, then the high ones: 32 numbers a block."""
    return np.concatenate([raw & 15, raw >> 4], axis=1).astype(np.float32)


# kind: (values of a block, bytes of a block, decoder of [blocks, bytes] to [blocks, values])
BLOCKS = {
    0: (1, 4, lambda r: r.copy().view(np.float32)),
    1: (1, 2, lambda r: half(r.copy())),
    2: (32, 18, lambda r: half(r[:, :2].copy()) * (nibbles(r[:, 2:]) - 8)),
    3: (32, 20, lambda r: half(r[:, :2].copy()) * nibbles(r[:, 4:]) + half(r[:, 2:4].copy())),
    8: (32, 34, lambda r: half(r[:, :2].copy()) * r[:, 2:].copy().view(np.int8).astype(np.float32)),
}

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def hf_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
    return {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight", "output": "lm_head.weight"}[parts[0]]


def half_split(weight, heads):
    """Rows of each head from interleaved pairs to first halves, then second halves."""
    rows, columns = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, rows // heads // 2, 2, columns).transpose(0, 2, 1, 3).reshape(rows, columns))


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)


def tokenizer_json(values):
    tokens, kinds = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for i, (t, kind) in enumerate(zip(tokens, kinds)) if kind == 3]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
            "post_processor": None, "decoder": {**level, "add_prefix_space": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(tokens)},
                      "merges": [m.split(" ") for m in values["tokenizer.ggml.merges"]]}}


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    source, out = sys.argv[1:]
    gguf = Gguf(source)
    v = gguf.values
    if v["general.architecture"] != "llama" or v["tokenizer.ggml.model"] != "gpt2" or v["tokenizer.ggml.pre"] != "smollm":
        raise SystemExit(f"{source}: only Llama-type files with SmolLM's tokenizer are handled")
    os.makedirs(out, exist_ok=True)
    heads, kv_heads = v["llama.attention.head_count"], v["llama.attention.head_count_kv"]
    tensors = {}
    for name in gguf.tensors:
        weight = gguf.tensor(name)
        if ".attn_q." in name or ".attn_k." in name:
            weight = half_split(weight, heads if ".attn_q." in name else kv_heads)
        tensors[hf_name(name)] = np.ascontiguousarray(weight)
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    tokens = v["tokenizer.ggml.tokens"]
    bos, eos, pad = (v[f"tokenizer.ggml.{k}_token_id"] for k in ("bos", "eos", "padding"))
    write_json(os.path.join(out, "config.json"), {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": v["llama.embedding_length"],
        "intermediate_size": v["llama.feed_forward_length"], "num_hidden_layers": v["llama.block_count"], "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "max_position_embeddings": v["llama.context_length"],
        "rms_norm_eps": float(f"{v['llama.attention.layer_norm_rms_epsilon']:.6g}"), "rope_theta": v["llama.rope.freq_base"],
        "rope_scaling": None, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "vocab_size": len(tokens), "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad, "torch_dtype": "float32"})
    write_json(os.path.join(out, "tokenizer.json"), tokenizer_json(v))
    write_json(os.path.join(out, "tokenizer_config.json"), {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": tokens[bos], "eos_token": tokens[eos], "pad_token": tokens[pad],
        "model_max_length": v["llama.context_length"], "clean_up_tokenization_spaces": False, "chat_template": v.get("tokenizer.chat_template")})
    with open(source, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    write_json(os.path.join(out, "PROVENANCE.json"), {"gguf_sha256": digest, "model": v.get("general.name"), "license": v.get("general.license")})
    print(f"{out}: {sum(t.size for t in tensors.values()):,} parameters, {len(tokens)} tokens")


if __name__ == "__main__":
    main()
