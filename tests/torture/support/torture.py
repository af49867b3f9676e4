"""What every torture does around its own work: a folder, one JSON line at the end, an exit code."""
import json
import os
import shutil
import subprocess
import sys

from support.trained_bits import ROOT

SKIPPED = 77


def torture(body, line):
    """Calls `body(base, line)`, which puts its figures into the line, prints the line, also after a failure, and ends the program: 0 = nothing failed, differed or hung.
    The folder `base` is kept unless all went well."""
    base = os.path.join(ROOT, "runs", f"torture-{line['name']}-{os.getpid()}")
    os.makedirs(base)
    try:
        body(base, line)
    except SystemExit as e:
        if e.code == SKIPPED:  # whoever raised it has said why
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
