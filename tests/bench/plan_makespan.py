#!/usr/bin/env python3
"""Twelve experts over four ranks with early stops, in the simulator: the makespan against the lower bound max(all work / ranks, longest chain).

    plan_makespan.py [--seeds 1000] [--least 0.2]

Each expert stops at a share of its longest course drawn evenly from [least, 1], which the dispatcher learns only when it happens. Experts of equal and of unequal length (0.5 to 1.5
hours), groups that keep 100, 95 or 90 % of the ranks' speed at each doubling, an evaluation at every 2 % of the course. Last line: {"name","median","worst",...}.
"""
import argparse
import json
import os
import subprocess

PROGRAM = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_plan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--least", type=float, default=0.2)
    args = parser.parse_args()
    rows = json.loads(subprocess.run([PROGRAM, "makespan", str(args.seeds), str(args.least)], check=True, capture_output=True, text=True).stdout)
    for row in rows:
        print(f"experts {'of unequal length' if row['unequal'] else 'of one length':<17}  {row['efficiency_per_doubling']:.0%} a doubling  groups {'change' if row['regroup'] else 'stay'}: "
              f"median {row['median']:.3f}  99 of 100 below {row['p99']:.3f}  worst {row['worst']:.3f}")
    changing = [row for row in rows if row["regroup"]]
    print(json.dumps({"name": "plan-makespan", "unit": "times the lower bound", "seeds": args.seeds, "median": max(r["median"] for r in changing),
                      "worst": max(r["worst"] for r in changing), "worst_without_regrouping": max(r["worst"] for r in rows if not r["regroup"]), "rows": rows}))


if __name__ == "__main__":
    main()
