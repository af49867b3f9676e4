"""The small run of the torture tests as processes of a session of their own, so that all of it can be found and killed."""
import os
import signal
import subprocess
import time

from .trained_bits import CONFIG

ROOT = os.environ["DMOERM_ROOT"]


def command(ranks, name, data, runs, settings):
    environment = dict(os.environ, DMOERM_DATA=data)
    arguments = [f"{ROOT}/launch/dmoerm", "--np", str(ranks), "run", "--config", CONFIG]
    for setting in [f"name={name}", f"runs_dir={runs}"] + settings:
        arguments += ["--set", os.path.expandvars(setting)]
    return arguments, environment


def start(ranks, name, data, runs, log, settings=()):
    arguments, environment = command(ranks, name, data, runs, list(settings))
    return subprocess.Popen(arguments, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)


def ranks_of(session, names=("dmoerm",)):
    """Process ids of the program's ranks in a session."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{pid}/comm") as f:
                if fields[0] != "Z" and int(fields[3]) == session and f.read().strip() in names:
                    found.append(int(pid))
        except (OSError, IndexError):
            continue
    return found


def kill_all(process):
    """Send SIGKILL to everything that is left of a run."""
    for pid in ranks_of(process.pid, ("dmoerm", "mpirun")):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    while ranks_of(process.pid):
        time.sleep(0.05)
