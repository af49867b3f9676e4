"""Shared by all torture tests: a folder, one JSON line at the end, and an exit code."""
import json
import os
import shutil
import signal
import subprocess
import sys

from support.trained_bits import ROOT

SKIPPED = 77


def torture(body, line):
    """Calls `body(base, line)`, which puts its figures into the line, prints the line, also after a failure, and ends the program: 0 = nothing failed, differed or hung.
    The folder `base` is kept if something failed."""
    base = os.path.join(ROOT, "runs", f"torture-{line['name']}-{os.getpid()}")
    os.makedirs(base)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that servers and clusters are taken down
    try:
        body(base, line)
    except SystemExit as e:
        if e.code == SKIPPED:  # the reason is already printed
            shutil.rmtree(base)
            raise
        line["failed"] = str(e)
    except (subprocess.SubprocessError, OSError, KeyError) as e:
        line["failed"] = f"{type(e).__name__}: {e}"
    fine = not (line.get("different") or line.get("hung") or "failed" in line)
    if fine:
        shutil.rmtree(base)
    print(json.dumps(line))
    sys.exit(0 if fine else 1)
