"""A random decoder of two tiny layers with a tokenizer of single letters, as a Hugging Face directory. Needs nothing but Python."""
import array
import json
import os
import random
import string
import struct

WIDTH, INTERMEDIATE, LAYERS, HEADS = 16, 24, 2, 2


def vocabulary():
    vocab = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    for letter in string.ascii_lowercase + string.digits:
        vocab[letter] = len(vocab)
        vocab["##" + letter] = len(vocab)
    return vocab


def tokenizer():
    vocab = vocabulary()
    added = [{"id": vocab[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}, "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab}}


def config():
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": len(vocabulary()), "hidden_size": WIDTH,
            "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 1,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
            "eos_token_id": 3, "pad_token_id": 0}


def weights():
    """name -> (shape, values)"""
    rng = random.Random(1)
    head = WIDTH // HEADS
    shapes = {"model.embed_tokens.weight": [len(vocabulary()), WIDTH], "model.norm.weight": [WIDTH]}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes.update({at + "self_attn.q_proj.weight": [WIDTH, WIDTH], at + "self_attn.k_proj.weight": [head, WIDTH],
                       at + "self_attn.v_proj.weight": [head, WIDTH], at + "self_attn.o_proj.weight": [WIDTH, WIDTH],
                       at + "mlp.gate_proj.weight": [INTERMEDIATE, WIDTH], at + "mlp.up_proj.weight": [INTERMEDIATE, WIDTH],
                       at + "mlp.down_proj.weight": [WIDTH, INTERMEDIATE], at + "input_layernorm.weight": [WIDTH],
                       at + "post_attention_layernorm.weight": [WIDTH]})
    tensors = {}
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        tensors[name] = (shape, [1.0 if "norm" in name else rng.gauss(0, 0.2) for _ in range(count)])
    return tensors


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def write_model(directory, tensors=None, settings=None):
    os.makedirs(directory, exist_ok=True)
    for name, value in (("config.json", settings or config()), ("tokenizer.json", tokenizer())):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            json.dump(value, f)
    write_safetensors(os.path.join(directory, "model.safetensors"), tensors or weights())
