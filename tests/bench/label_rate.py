#!/usr/bin/env python3
"""How well the judge client uses a rate limit that it learns from the server's headers.

    launch/bench.sh label-rate [--rpm 600] [--minutes 5]

The test judge allows --rpm requests in any 60 seconds. Target: at least 97 % of the limit used, fewer than 0.5 % answers 429.
Last line: {"name","unit","ours","target","refused_percent",...}.
"""
import argparse
import json
import os
import subprocess
import tempfile

from judge import build, judge


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rpm", type=int, default=600)
    parser.add_argument("--minutes", type=float, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "witness.log")
        with judge("--synthetic", "--rpm", str(args.rpm), "--latency-ms", "200", "--log", log) as url:
            subprocess.run([build("tests", "bench", "bench_label_client"), "--url", url, "--seconds", str(args.minutes * 60)], check=True,
                           stdout=subprocess.DEVNULL)
        with open(log, encoding="ascii") as file:
            status = [int(line.split()[2]) for line in file]
    good, refused = status.count(200), status.count(429)
    used = 100 * good / (args.rpm * args.minutes)
    print(f"{good} answered, {refused} refused of {len(status)} in {args.minutes:g} minutes at {args.rpm} a minute")
    print(json.dumps({"name": "label-rate", "unit": "% of the limit", "ours": round(used, 2), "target": 97, "refused_percent": round(100 * refused / len(status), 3),
                      "refused_target": 0.5, "requests": len(status), "minutes": args.minutes}))


if __name__ == "__main__":
    main()
