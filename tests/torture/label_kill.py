"""Labelling that is killed with -9 at random moments loses no stored label, requests none again, and pays twice only for requests in flight at a kill.

A labelling of about 5,000 requests is started, killed after a random time, checked (the store opens and verifies), started again, ... until it ends by itself; then the next
one on a fresh store, until there were `--runs` kills. The judge's own log is the witness. Ends with one JSON line.
"""
import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from label_world import Ledger, World, said_stored  # noqa: E402

KILLS_EACH = 10  # kills of one labelling
GROUPS = 58      # x 3 categories x 0.8 x 6 pairs x 3 points x 2 orders: about 5,000 requests


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=200, help="Number of kills in all")
    options.add_argument("--seed", type=int, default=17)
    options.add_argument("--groups", type=int, default=GROUPS)
    arguments = options.parse_args()
    draw = random.Random(arguments.seed)
    result = {"name": "label-kill", "runs": 0, "lost": 0, "paid_twice": 0, "in_flight_again": 0, "unreadable": 0, "requests": 0, "labellings": 0}
    while result["runs"] < arguments.runs:
        folder = tempfile.mkdtemp(prefix="dmoerm-label-kill-")
        world = World(folder, arguments.groups, arguments.seed, ["--latency-ms", "15"])
        try:
            total = world.total()
            ledger, output, kills, code = Ledger(), os.path.join(folder, "out"), 0, None
            while code is None:
                process = world.label(output)
                if kills < min(KILLS_EACH, arguments.runs - result["runs"]):
                    try:
                        process.wait(draw.uniform(0.02, 1.2))
                    except Exception:  # still running, as usual
                        process.kill()
                        kills += 1
                code = process.wait()
                if code < 0:
                    code = None
                time.sleep(0.05)  # lets the judge log the requests that it has accepted
                ledger.add(world.answers(), said_stored(output))
                if code is None and os.path.exists(world.store) and not world.verifies():
                    result["unreadable"] += 1
            if code != 0:
                with open(output, encoding="utf-8") as f:
                    sys.exit(f"the labelling ended with code {code}:\n{f.read()[-2000:]}")
            kept = world.stored_keys()
            result["lost"] += len(ledger.stored - kept) + ledger.asked_again + (total - len(kept))
            result["paid_twice"] += ledger.paid_twice()
            result["in_flight_again"] += ledger.in_flight_again()
            result["runs"] += kills
            result["requests"] += sum(ledger.answered.values())
            result["labellings"] += 1
            print(f"labelling {result['labellings']}: {total} requests, {kills} kills; so far {json.dumps(result)}", file=sys.stderr, flush=True)
        finally:
            world.stop_server()
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result))
    return 1 if result["lost"] or result["paid_twice"] or result["unreadable"] else 0


if __name__ == "__main__":
    sys.exit(main())
