"""What a device reaches in products of two square matrices, and in copying its memory, measured through torch: the ceilings that step times are held against.

    matmul_peak.py [--device cuda --dtype bfloat16 --size 8192 --copy-mib 4096]

Prints one JSON line: TFLOP/s and GB/s (what is read and what is written), each the best of five.
"""
import argparse
import json
import time

import torch


def best_seconds(work, device, times=10):
    """Seconds of one call, in the fastest of five rows of `times` calls; a row before them warms up."""
    best = float("inf")
    for row in range(6):
        begun = time.perf_counter()
        for _ in range(times):
            work()
        if device == "cuda":
            torch.cuda.synchronize()
        if row:
            best = min(best, (time.perf_counter() - begun) / times)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--copy-mib", type=int, default=4096)
    a = parser.parse_args()
    left, right = (torch.randn(a.size, a.size, device=a.device).to(getattr(torch, a.dtype)) for _ in range(2))
    product = torch.empty_like(left)
    tflops = 2e-12 * a.size**3 / best_seconds(lambda: torch.mm(left, right, out=product), a.device)
    source = torch.zeros(a.copy_mib << 20, device=a.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    gb_s = 2e-9 * source.numel() / best_seconds(lambda: target.copy_(source), a.device)
    print(json.dumps({"matmul_tflops": round(tflops, 4), "copy_gb_s": round(gb_s, 2), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
