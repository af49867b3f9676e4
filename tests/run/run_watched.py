"""`dmoerm run` can be watched on a terminal, by `status` from another process, and by its page and metrics. It continues when its terminal is closed. When it is
killed, `status` says so, and after the next start TensorBoard files, metrics.jsonl and timeline.jsonl agree. Usage: run_watched.py (DMOERM_ROOT and DMOERM_BUILD in the environment)"""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.environ["DMOERM_ROOT"]
PYTHON = os.environ.get("DMOERM_PYTHON") or os.path.join(os.environ.get("DMOERM_HOME", os.path.expanduser("~/.cache/dmoerm")), "venv", "bin", "python")
WAIT_S = 240


def command(runs, name, *settings, ranks=0):
    arguments = [f"{ROOT}/launch/dmoerm", *(["--np", str(ranks)] if ranks else []), "run", "--config", f"{ROOT}/configs/small/same_bits.yaml"]
    for setting in (f"runs_dir={runs}", f"name={name}", "watch.every_s=0.2", *settings):
        arguments += ["--set", setting]
    return arguments


class OnTerminal:
    """A program on a terminal that a thread reads."""

    def __init__(self, arguments):
        self.text, self.closed = b"", threading.Event()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv(arguments[0], arguments)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while not self.closed.is_set():
            try:
                if select.select([self.terminal], [], [], 0.1)[0]:
                    self.text += os.read(self.terminal, 65536)
            except OSError:
                return

    def close_terminal(self):
        self.closed.set()
        self.reader.join()
        os.close(self.terminal)

    def code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def status(run, *arguments):
    done = subprocess.run([f"{ROOT}/launch/dmoerm", "status", run, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def until(what, look):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    sys.exit(f"not within {WAIT_S} s: {what}")


def running(run):
    """The state of status --json once a task trains."""
    code, shown, _ = status(run, "--json") if os.path.exists(f"{run}/status.json") else (1, "", "")
    if code != 0:
        return None
    state = json.loads(shown)
    return state if any(t["state"] == "running" and t.get("step", 0) > 0 for t in state["tasks"]) else None


def timeline(run):
    """Events by name. A kill leaves at most one incomplete line, the last of a start."""
    events, torn = [], 0
    with open(f"{run}/timeline.jsonl", encoding="utf-8") as f:
        for line in f:
            try:
                events.append(json.loads(line))
            except ValueError:
                torn += 1
    if torn > 1:
        sys.exit(f"{torn} incomplete lines in {run}/timeline.jsonl")
    return events


def check_metrics(text, names):
    try:
        from prometheus_client.parser import text_string_to_metric_families  # pylint: disable=import-outside-toplevel
    except ImportError:
        print("prometheus_client is not installed (launch/setup.sh --with tests): metrics are not parsed")
        return
    samples = {sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples}
    for name in names:
        if name not in samples:
            sys.exit(f"{name} is not among {sorted(samples)}")


def watched_on_a_terminal(runs, ranks):
    run = f"{runs}/screen-{ranks}"
    job = OnTerminal(command(runs, f"screen-{ranks}", "watch.port=0", "base.epochs_max=1", "experts.train.epochs_max=1", ranks=ranks))
    state = until("a task trains", lambda: running(run))
    code, shown, _ = status(run)
    if code != 0 or not shown.startswith("alive: pid "):
        sys.exit(f"status of a live run: code {code}: {shown}")
    with urllib.request.urlopen(state["page"] + "metrics", timeout=20) as reply:
        check_metrics(reply.read().decode(), ["dmoerm_tasks", "dmoerm_task_step", "dmoerm_task_validation_accuracy", "dmoerm_ranks_alive", "dmoerm_rank_silence_seconds"])
    with urllib.request.urlopen(state["page"], timeout=20) as reply:
        if state["tasks"][0]["id"] not in reply.read().decode():
            sys.exit("the page does not name the first task")
    until("a log line above the screen", lambda: b"[run] task=" in job.text)
    text = job.text.decode()
    if "\x1b[J" not in text or "\x1b[3" not in text:
        sys.exit(f"nothing was redrawn on the terminal: {text[-600:]!r}")
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    missing = [t["id"] for t in state["tasks"] if t["id"][-12:] not in plain]
    if missing and "others: " not in plain and " tasks: " not in plain:
        sys.exit(f"not on the screen: {missing}")
    job.close_terminal()
    ended = job.code()
    if ended != 0:
        sys.exit(f"the run on {ranks} ranks ended with code {ended} when its terminal was closed: {status(run)}")
    code, shown, _ = status(run)
    if code != 0 or not shown.startswith("ended with code 0"):
        sys.exit(f"status of an ended run: code {code}: {shown}")
    if not os.path.exists(f"{run}/bundle/dmoerm.json"):
        sys.exit("no bundle after the terminal was closed")


def killed_and_resumed(runs):
    run = f"{runs}/killed"
    arguments = command(runs, "killed", "experts.per_task=2", "base.checkpoint_every_s=0", "experts.train.checkpoint_every_s=0.5")
    job = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # pylint: disable=consider-using-with
    until("an expert trains", lambda: any(e.get("task", "").startswith("expert/") and e["event"] == "progress" and e.get("step", 0) >= 5 for e in
                                          (timeline(run) if os.path.exists(f"{run}/timeline.jsonl") else [])))
    job.send_signal(signal.SIGKILL)
    job.communicate()
    code, shown, _ = status(run)
    if code != 1 or not shown.startswith(f"dead: pid {job.pid} on "):
        sys.exit(f"status of a killed run: code {code}: {shown}")
    os.remove(f"{run}/status.json")
    code, shown, _ = status(run)
    if code != 1 or "no status.json" not in shown or "expert/" not in shown:
        sys.exit(f"status without status.json: code {code}: {shown}")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the resumed run ended with code {done.returncode}: {done.stderr[-1500:]}")
    events = timeline(run)
    if [e["event"] for e in events].count("run") != 2 or events[-1]["event"] != "finish" or events[-1]["code"] != 0:
        sys.exit(f"the timeline is not that of two starts: {events[-3:]}")
    folders = [folder for folder, _, files in os.walk(run) if "metrics.jsonl" in files]
    read = subprocess.run([PYTHON, f"{ROOT}/tests/watch/read_tensorboard.py", *folders], check=False)
    if read.returncode not in (0, 77):
        sys.exit(1)


def main():
    with tempfile.TemporaryDirectory(prefix="dmoerm-run-watched-") as folder:
        subprocess.run([f"{ROOT}/launch/dmoerm", "synth", "--out", f"{folder}/synth.jsonl", "--groups", "40", "--responses", "3", "--categories", "2"], check=True, stdout=subprocess.DEVNULL)
        os.environ["DMOERM_DATA"] = folder
        os.environ.setdefault("DMOERM_MODELS", os.path.join(os.environ.get("DMOERM_HOME", os.path.expanduser("~/.cache/dmoerm")), "models"))
        for ranks in (0, 2):
            watched_on_a_terminal(f"{folder}/runs", ranks)  # alone, and through mpirun
        killed_and_resumed(f"{folder}/runs")
    print("watched")


if __name__ == "__main__":
    main()
