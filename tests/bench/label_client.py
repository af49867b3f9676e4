#!/usr/bin/env python3
"""Overhead of the judge client: requests per second on one core against the test judge on another, 256 in flight over kept connections; resident memory.

    launch/bench.sh label-client [--requests 200000] [--in-flight 256]

Target: 2,000 requests/s; memory constant and below 200 MB. `growth_mb` is the growth of resident memory from a tenth of the requests to the end. `per_cpu_second`
is requests per second of processor time: the rate on an otherwise idle machine.
Last line: {"name","unit","ours","target",...}.
"""
import argparse
import json
import os
import subprocess

from judge import build, judge


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--in-flight", type=int, default=256)
    args = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    # The allocator as it comes: bench.sh sets it for tensors.
    env = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    with judge("--synthetic", cpu=cpus[-1]) as url:
        ran = subprocess.run(["taskset", "-c", str(cpus[0]), build("tests", "bench", "bench_label_client"), "--url", url, "--requests", str(args.requests),
                              "--in-flight", str(args.in_flight)], check=True, stdout=subprocess.PIPE, text=True, env=env)
    got = json.loads(ran.stdout)
    if got["ok"] != args.requests or got["sent"] != args.requests:
        raise SystemExit(f"not every request was answered, once: {got}")
    rss = got["rss_mb"]
    print(f"{got['done']} requests in {got['wall_s']:.1f} s ({got['cpu_s']:.1f} s of processor time), resident MB: "
          + " ".join(f"{m:.0f}" for m in rss))
    print(json.dumps({"name": "label-client", "unit": "requests/s", "ours": round(got["done"] / got["wall_s"]), "target": 2000,
                      "per_cpu_second": round(got["done"] / got["cpu_s"]), "requests": got["done"], "peak_mb": round(got["peak_mb"], 1),
                      "growth_mb": round(rss[-1] - rss[1], 1), "cores": len(cpus)}))


if __name__ == "__main__":
    main()
