"""gpu-launches: what one training step asks of a GPU, counted without one: 64 pairs of HH's mean lengths, one LoRA expert over Qwen2.5-1.5B's 28 layers in
bfloat16, dropout 0.05, one pass of 16,384 tokens. Times cannot be had this way; counts can.

Ends with one JSON line: launches (kernels, products, copies and fills on the card), syncs (waits of the host). `ratio` is the peer's launches over
ours: a step of transformers with PEFT, of 8 padded pairs where ours has 64; null for other work, for which the peer was not counted. Needs a torch wheel with CUDA, no GPU.
"""
import argparse
import json
import os
import subprocess
import sys

PEER_LAUNCHES = 4111  # transformers 5.17 with PEFT, 8 pairs padded, 28 layers: docs/results/gpu.md


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--micro-batch-tokens", type=int, default=16384)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--experts", type=int, default=1)
    parser.add_argument("--what", default="train", choices=["train", "all", "score", "states"],
                        help="a step of experts, a step of all weights, a scoring pass, or the states of all experts")
    parser.add_argument("--mean", action="store_true", help="heads read the mean of the response's states")
    parser.add_argument("--names", action="store_true", help="print every call by name first")
    a = parser.parse_args()
    command = [os.path.join(os.environ["DMOERM_BUILD"], "tests", "gpu_launches"), "--print", "--what", a.what, *(["--names"] if a.names else []),
               *(["--mean"] if a.mean else [])]
    for name in ("layers", "pairs", "micro_batch_tokens", "dropout", "experts"):
        command += ["--" + name.replace("_", "-"), str(getattr(a, name))]
    whole_blocks = {**os.environ, "PYTORCH_ALLOC_CONF": "expandable_segments:False"}  # the runtime counts those
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=whole_blocks)
    if found.returncode == 77:
        sys.exit(found.stdout.strip())
    if found.returncode != 0:
        sys.exit(f"{found.stdout}gpu_launches ended with code {found.returncode}")
    counts = json.loads(found.stdout[found.stdout.index("{"):])
    same_work = (a.what, a.layers, a.experts) == ("train", 28, 1)
    print(json.dumps({"name": "gpu-launches", "unit": "launches", "ours": counts["launches"], "peer": PEER_LAUNCHES if same_work else None,
                      "ratio": round(PEER_LAUNCHES / counts["launches"], 2) if same_work else None, **counts}))


if __name__ == "__main__":
    main()
