"""step-time: a training step of one LoRA expert on random weights of Qwen2.5-1.5B's shapes, in bfloat16 on a GPU unless told otherwise, and its MFU.

A step is eight groups of four responses: 512 tokens of prompt, 128 of each response; dropout is on. MFU counts four operations for each weight of a linear layer and token (forward and the gradient in
the states), and leaves attention's own products out. --peak-tflops is the device's (H100: 989 in bfloat16). Ends with one JSON line.
"""
import argparse
import json
import os
import random
import tempfile

from bench_common import run_ours, write_lines
from random_decoder import SHAPE, write_model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--layers", type=int, default=SHAPE["num_hidden_layers"], help="use fewer to try it on a small machine")
    parser.add_argument("--steps", type=int, default=3, help="of a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak-tflops", type=float, default=989)
    a = parser.parse_args()
    draw = random.Random(1)
    ids = lambda count: [draw.randrange(SHAPE["vocab_size"]) for _ in range(count)]  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        write_model(folder, SHAPE | {"num_hidden_layers": a.layers})
        groups = write_lines(os.path.join(folder, "groups.jsonl"), [{"prefix": ids(512), "responses": [ids(128) for _ in range(4)], "pairs": [[0, 1], [1, 2], [2, 3]]} for _ in range(8 * a.steps)])
        found = run_ours(folder, groups, a.threads, "--device", a.device, "--dtype", a.dtype, "--groups-per-step", 8, "--micro-batch-tokens", 8192, "--dropout", 0.05, "--repeats", a.repeats)
    step = [s / a.steps for s in found["seconds"]]
    print(json.dumps({"name": "step-time", "unit": "s", "device": a.device, "dtype": a.dtype, "layers": a.layers, "ours": round(step[len(step) // 2], 4),
                      "spread": [round(step[0], 4), round(step[-1], 4)], "tokens_per_s": round(found["packed_tokens_per_s"]), "tflops": round(found["gflops_linear"] / 1000, 2),
                      "mfu": round(found["gflops_linear"] / 1000 / a.peak_tflops, 3), "first_loss": found["first_loss"]}))


if __name__ == "__main__":
    main()
