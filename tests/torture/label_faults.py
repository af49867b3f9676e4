"""Labelling with a full disk, a read-only store, a clock that jumps back, or a judge that disappears loses nothing, explains the problem, and continues in the next run.

  disk-full    the store is on a file system that fills up; exit code 2 naming it; with free space again the rest is labelled
  read-only    the store cannot be written: exit code 2 before anything is sent
  clock        the wall clock jumps back an hour in the middle
  judge-gone   the judge is killed, and started again after `--gone` seconds: the same labeller continues

After each, the judge's log shows that no stored label was requested again, and every label exists at the end. Ends with one JSON line.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from label_world import Ledger, World, said_stored  # noqa: E402

CLOCK_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static int (*real)(clockid_t, struct timespec*);
int clock_gettime(clockid_t id, struct timespec* t) {
  static long begun;
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, t);
  if (id == CLOCK_REALTIME && code == 0) {
    if (!begun) begun = t->tv_sec;
    if (t->tv_sec > begun) t->tv_sec -= 3600;
  }
  return code;
}
"""


def finish(world, ledger, output, **how):
    """Label to the end. @return the exit code"""
    process = world.label(output, **how)
    code = process.wait()
    ledger.add(world.answers(), said_stored(output))
    return code


def check(world, ledger, total, problems, name):
    kept = world.stored_keys()
    if len(kept) != total or ledger.stored - kept:
        problems.append(f"{name}: {len(kept)} of {total} labels, {len(ledger.stored - kept)} that were reported are missing")
    if ledger.asked_again or ledger.paid_twice():
        problems.append(f"{name}: {ledger.asked_again} stored labels requested again, {ledger.paid_twice()} paid twice")
    if not world.verifies():
        problems.append(f"{name}: the store does not verify")


def said(output, *words):
    with open(output, encoding="utf-8") as f:
        text = f.read()
    return all(word in text for word in words), text[-600:]


def disk_full(world, total, problems):
    os.makedirs(world.store)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", world.store], check=True)
    try:
        ledger, output = Ledger(), os.path.join(world.folder, "out")
        code = finish(world, ledger, output)
        clear, text = said(output, "space")
        if code != 2 or not clear:
            problems.append(f"disk-full: exit code {code}, expected 2 and a message about space: {text}")
        subprocess.run(["mount", "-o", "remount,size=64m", world.store], check=True)
        if (code := finish(world, ledger, output)) != 0:
            problems.append(f"disk-full: exit code {code} after room was made: {said(output)[1]}")
        check(world, ledger, total, problems, "disk-full")
    finally:
        subprocess.run(["umount", world.store], check=False)


def read_only(world, total, problems):
    ledger, output = Ledger(), os.path.join(world.folder, "out")
    os.makedirs(world.store)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,ro", "tmpfs", world.store], check=True)
    try:
        code = finish(world, ledger, output)
        if code != 2 or world.answers() or not said(output, world.store)[0]:
            problems.append(f"read-only: exit code {code}, {len(world.answers())} requests: {said(output)[1]}")
        subprocess.run(["mount", "-o", "remount,rw", world.store], check=True)
        if (code := finish(world, ledger, output)) != 0:
            problems.append(f"read-only: exit code {code} once it can be written")
        check(world, ledger, total, problems, "read-only")
    finally:
        subprocess.run(["umount", world.store], check=False)


def clock(world, total, problems):
    ledger, output = Ledger(), os.path.join(world.folder, "out")
    shim = os.path.join(world.folder, "clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, "-x", "c", "-", "-ldl"], input=CLOCK_SHIM, text=True, check=True)
    process = world.label(output, environment={"LD_PRELOAD": shim})
    time.sleep(1.6)
    process.kill()
    process.wait()
    ledger.add(world.answers(), said_stored(output))
    if (code := finish(world, ledger, output, environment={"LD_PRELOAD": shim})) != 0:
        problems.append(f"clock: exit code {code}: {said(output)[1]}")
    check(world, ledger, total, problems, "clock")


def judge_gone(world, total, problems, seconds):
    ledger, output = Ledger(), os.path.join(world.folder, "out")
    process = world.label(output)
    time.sleep(0.8)
    world.stop_server()
    time.sleep(seconds)
    alive = process.poll() is None
    world.start_server()
    code = process.wait()
    ledger.add(world.answers(), said_stored(output))
    if code != 0 or not alive:
        problems.append(f"judge-gone: exit code {code}, {'still' if alive else 'not'} running after {seconds} s: {said(output)[1]}")
    # The judge may have answered requests that were in flight when it died; they may be sent again once.
    ledger.in_flight.update(key for key, count in ledger.answered.items() if count > 1)
    check(world, ledger, total, problems, "judge-gone")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=1)
    options.add_argument("--seed", type=int, default=17)
    options.add_argument("--gone", type=float, default=60, help="Seconds without a judge")
    arguments = options.parse_args()
    mounts = os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0
    cases = {"clock": clock, "judge-gone": lambda *a: judge_gone(*a, arguments.gone)}
    if mounts:
        cases |= {"disk-full": disk_full, "read-only": read_only}
    else:
        print("disk-full and read-only are skipped: mounting needs root", file=sys.stderr)
    problems, done = [], []
    for run in range(arguments.runs):
        for name, case in cases.items():
            folder = tempfile.mkdtemp(prefix="dmoerm-label-faults-")
            world = World(folder, 58, arguments.seed + run, ["--latency-ms", "15"])
            try:
                case(world, world.total(), problems)
                done.append(name)
                print(f"{name} done; problems so far: {len(problems)}", file=sys.stderr, flush=True)
            finally:
                world.stop_server()
                shutil.rmtree(folder, ignore_errors=True)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(json.dumps({"name": "label-faults", "runs": len(done), "cases": sorted(set(done)), "problems": len(problems)}))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
