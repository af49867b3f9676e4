#!/usr/bin/env python3
"""A graph of 100,000 tasks planned (every one placed and simulated to its end), and the dispatcher's time a message with 1,000 ranks.

    plan_large.py [--tasks 100000] [--ranks 512] [--messages-tasks 5000] [--messages-ranks 1000]

The messages are those of a coordinator: idle, progress, done, failed and tried again, paused. Last line: {"name","plan_s","plan_cpu_s","message_mean_us",...}.
"""
import argparse
import json
import os
import resource
import subprocess

PROGRAM = os.path.join(os.environ["DMOERM_BUILD"], "tests", "bench", "bench_plan")


def run(*words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = json.loads(subprocess.run([PROGRAM, *map(str, words)], check=True, capture_output=True, text=True).stdout)
    return result, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100000)
    parser.add_argument("--ranks", type=int, default=512)
    parser.add_argument("--messages-tasks", type=int, default=5000)
    parser.add_argument("--messages-ranks", type=int, default=1000)
    args = parser.parse_args()
    large, cpu = run("large", args.tasks, args.ranks)
    print(f"{large['tasks']} tasks on {large['ranks']} ranks: {large['seconds']:.1f} s ({cpu:.1f} s of the processor), {large['to_lower_bound']:.3f} times the lower bound")
    messages, _ = run("messages", args.messages_tasks, args.messages_ranks)
    print(f"{messages['messages']} messages of {messages['ranks']} ranks: {messages['mean_us']:.1f} us each, 99 of 100 below {messages['p99_us']:.0f} us, slowest {messages['worst_us']:.0f} us")
    print(json.dumps({"name": "plan-large", "tasks": large["tasks"], "plan_s": round(large["seconds"], 2), "plan_cpu_s": round(cpu, 2), "to_lower_bound": round(large["to_lower_bound"], 4),
                      "ranks": messages["ranks"], "messages": messages["messages"], "message_mean_us": round(messages["mean_us"], 1), "message_p99_us": round(messages["p99_us"], 1),
                      "message_worst_us": round(messages["worst_us"], 1)}))


if __name__ == "__main__":
    main()
