"""The Python environment that launch/setup.sh --with clients makes, in DMOERM_HOME/clients."""
import os
import pathlib
import sys

HOME = pathlib.Path(os.environ.get("DMOERM_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "dmoerm"))
PYTHON = HOME / "clients/bin/python"


def enter():
    """Starts the script a second time, in that environment, if it does not run there; ends it as skipped (77) if there is none."""
    if not PYTHON.exists():
        print(f"skipped: no {PYTHON}: launch/setup.sh --with clients")
        sys.exit(77)
    if pathlib.Path(sys.prefix) != PYTHON.parents[1]:
        os.execv(PYTHON, [str(PYTHON), *sys.argv])
