"""Compares final hidden states of SmolLM2 with transformers: equal in float32, and in bfloat16 as near to its float32 as its own bfloat16.

    bfloat16_transformers.py MODEL_DIRECTORY DMOERM

Relative distances (norm of the difference over norm) of whole texts; DMOERM is the program or launch/dmoerm. Exit code 1 if ours is more than 1.3 times as far.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

TEXTS = ["The council met on Tuesday and decided nothing; the mayor left early, and the baker closed the windows against the rain. " * 4,
         "Summary: prices rose in spring and fell in autumn, except for bread.", "def f(x): return x ** 2 + 3 * x - 7"]


def ours(program, model, ids, dtype):
    with tempfile.TemporaryDirectory() as folder:
        lines, out = os.path.join(folder, "ids.jsonl"), os.path.join(folder, "states.safetensors")
        with open(lines, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in ids)
        subprocess.run([program, "inspect", "hidden", "--model", model, "--ids", lines, "--out", out, "--dtype", dtype], check=True, stdout=subprocess.DEVNULL)
        states = load_file(out)
    return [states[str(i)] for i in range(len(ids))]


def theirs(model, ids, dtype):
    network = AutoModel.from_pretrained(model, dtype=dtype).eval()
    with torch.no_grad():
        return [network(torch.tensor([one])).last_hidden_state[0].float() for one in ids]


def main():
    model, program = sys.argv[1:3]
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    reference = theirs(model, ids, torch.float32)
    distances = {name: [((a - b).norm() / b.norm()).item() for a, b in zip(states, reference)] for name, states in
                 [("ours float32", ours(program, model, ids, "float32")), ("ours bfloat16", ours(program, model, ids, "bfloat16")), ("theirs bfloat16", theirs(model, ids, torch.bfloat16))]}
    for name, values in distances.items():
        print(f"{name:<15}", "  ".join(f"{v:.2e}" for v in values))
    near = max(distances["ours float32"]) < 2e-5 and all(a < 1.3 * b for a, b in zip(distances["ours bfloat16"], distances["theirs bfloat16"]))
    sys.exit(0 if near else 1)


if __name__ == "__main__":
    main()
