"""coordinator: its time for a message with 1,000 simulated workers and 2,800 tasks, failures and retries among them. Ends with one JSON line.

Every worker's message is measured from its receipt until the coordinator asks for the next one: parsing, placement, answers, events.
"""
import argparse
import os
import subprocess


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--categories", type=int, default=400)
    args = parser.parse_args()
    program = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_coordinator")
    subprocess.run([program, str(args.workers), str(args.categories)], check=True)


if __name__ == "__main__":
    main()
