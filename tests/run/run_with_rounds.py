"""`dmoerm run` with labels.rounds: 2. It asks about as many pairs as the dry run says; those of the second round have the smallest gaps by the experts of the first; between the
rounds the store is free for another process, for which the run waits; killed there, and before that inside a task that scores gaps, and ended by the budget in the second round, it
goes on on two ranks without a question sent twice. `dmoerm status` shows the rounds; --update with more rounds asks only what is new."""
import collections
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

ROOT, BUILD = os.environ["DMOERM_ROOT"], os.environ["DMOERM_BUILD"]
sys.path.insert(0, os.path.join(ROOT, "tests", "torture", "support"))
from label_world import World  # noqa: E402

POINTS = ["customer_support/empathy", "customer_support/next_step", "story_opening/imagery", "story_opening/mystery"]
PER_GROUP = 2


def dmoerm(*arguments, ranks=0):
    done = subprocess.run([f"{ROOT}/launch/dmoerm", *(["--np", str(ranks)] if ranks else []), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout, done.stderr


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: expected {wanted}, found {found}")


def wait_until(what, condition, process, log):
    for _ in range(24000):
        if condition():
            return
        if process.poll() is not None:
            sys.exit(f"the run ended (code {process.returncode}) before {what}: {open(log, encoding='utf-8').read()[-1500:]}")
        time.sleep(0.01)
    sys.exit(f"{what} did not come")


def rows(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def pairs_of(run, task):
    return {(row["file"], row["line"], pair[0], pair[1]) for row in rows(f"{run}/{task}/verdicts.jsonl") for pair in row["pairs"]}


def kill_inside_gaps(command, run, folder):
    """Start the run, and kill it as soon as it scores gaps."""
    log = os.path.join(folder, "gaps.log")
    with open(log, "w", encoding="utf-8") as f:
        process = subprocess.Popen([f"{ROOT}/launch/dmoerm", *command], stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until("a task of gaps", lambda: "[run] task=gaps-round-1/" in open(log, encoding="utf-8").read(), process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    started = [line.split("task=")[1].split()[0] for line in open(log, encoding="utf-8") if "[run] task=gaps-round-1/" in line]
    if any(os.path.exists(f"{run}/label/{point}/manifest.json") for point in POINTS):
        sys.exit(f"the kill came after the second round ({started})")


def stop_between_rounds(command, run, store, folder):
    """Start the run, take the store's lock as soon as it is free, wait until the run says that it waits, and kill it."""
    log = os.path.join(folder, "first.log")
    with open(log, "w", encoding="utf-8") as f:
        process = subprocess.Popen([f"{ROOT}/launch/dmoerm", *command], stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until("the first round", lambda: all(os.path.exists(f"{run}/label-round-1/{point}/manifest.json") for point in POINTS), process, log)
        lock = open(os.path.join(store, "LOCK"), "r+", encoding="utf-8")

        def taken():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                return False

        wait_until("the store was free", taken, process, log)
        if any(os.path.exists(f"{run}/label/{point}/manifest.json") for point in POINTS):
            sys.exit("the store was free only after the second round")
        wait_until("the run waits for the store", lambda: "the run waits with its questions" in open(log, encoding="utf-8").read(), process, log)
        time.sleep(1.5)
        expect("times that it says so", open(log, encoding="utf-8").read().count("the run waits with its questions"), 1)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lock.close()


def check_second_round(run, point):
    category, name = point.split("/")
    first, both = pairs_of(run, f"label-round-1/{point}"), pairs_of(run, f"label/{point}")
    if not first < both:
        sys.exit(f"{point}: the pairs of the first round are not kept")
    gaps = {}
    for row in rows(f"{run}/gaps-round-1/{category}/{name}/rewards.jsonl"):
        r = row["rewards"][name]
        gaps.update({(row["file"], row["line"], a, b): abs(r[a] - r[b]) for a in range(len(r)) for b in range(a + 1, len(r))})
    train = {pair for pair in both if pair in gaps}
    expect(f"{point}: pairs of the first round", len({pair for pair in first if pair in gaps}), (len(train) + 1) // 2)
    taken = collections.Counter(pair[:2] for pair in train)
    largest = max(gaps[pair] for pair in train - first)
    for pair, gap in gaps.items():
        if pair not in train and taken[pair[:2]] < PER_GROUP and gap < largest:
            sys.exit(f"{point}: {pair} with the gap {gap} was left out, and one of {largest} was asked about")
    return len(both)


def main():
    with tempfile.TemporaryDirectory(prefix="dmoerm-run-with-rounds-") as folder:
        world = World(folder, 28, 3, ["--latency-ms", "2"])
        os.rename(os.path.join(folder, "data.jsonl"), os.path.join(folder, "synth.jsonl"))
        os.environ["DMOERM_DATA"] = folder
        os.environ.setdefault("DMOERM_MODELS", os.path.join(os.environ.get("DMOERM_HOME", os.path.expanduser("~/.cache/dmoerm")), "models"))
        judge = f"labels.judges=[{{model: judge, endpoints: [{{url: \"http://127.0.0.1:{world.port}/v1\"}}]}}]"
        options = ["--config", f"{ROOT}/configs/small/same_bits.yaml", "--set", f"runs_dir={folder}/runs", "--set", judge, "--set", f"labels.store={world.store}",
                   "--set", "labels.pairs.choose=uncertain", "--set", f"labels.pairs.per_group={PER_GROUP}", "--set", "labels.rounds=2"]
        run = f"{folder}/runs/same-bits"
        try:
            code, shown, said = dmoerm("label", *options, "--dry-run")
            expect(f"dry run ({said[-800:]})", code, 0)
            total = int(next(line for line in shown.splitlines() if line.startswith("| all ")).split("|")[2])
            if "2 rounds together" not in shown:
                sys.exit(f"the dry run does not mention the rounds: {shown[-400:]}")
            kill_inside_gaps(["run", *options], run, folder)
            asked = len(world.answers())
            stop_between_rounds(["run", *options], run, world.store, folder)
            expect("questions after a kill inside the gaps", len(world.answers()), asked)
            before = len(world.answers())
            if not 0 < before < total:
                sys.exit(f"{before} of {total} questions after the first round")
            limit = (before + total) // 2
            code, shown, said = dmoerm("run", *options, "--set", f"labels.budget.requests_max={limit}", ranks=2)
            expect(f"exit code at the budget ({said[-1500:]})", code, 3)
            expect("questions at the budget, which counts both rounds", len(world.answers()), limit)
            code, shown, said = dmoerm("status", run)
            for part in ("label-round-1", "gaps-round-1", "expert-round-1"):
                if part not in shown:
                    sys.exit(f"status does not show {part}: {shown} {said}")
            code, shown, said = dmoerm("run", *options, ranks=2)
            expect(f"exit code of the whole run ({said[-1500:]})", code, 0)
            counts = collections.Counter(world.answers())
            expect("questions", len(counts), total)
            expect("questions sent twice", sum(1 for n in counts.values() if n > 1), 0)
            expect("pairs in both orders", 2 * sum(check_second_round(run, point) for point in POINTS), total)
            code, shown, said = dmoerm("run", *options)
            expect("exit code of a finished run", code, 0)
            code, shown, said = dmoerm("label", *options)
            expect(f"exit code of labelling alone ({said[-800:]})", code, 0)
            expect("questions after both", len(world.answers()), total)
            if "the first of 2 rounds" not in shown:
                sys.exit(f"labelling alone does not say that it did the first round: {shown[-400:]}")
            code, shown, said = dmoerm("run", *options, "--set", "labels.rounds=3")
            expect("exit code with more rounds and without --update", code, 2)
            if "round: " not in said:
                sys.exit(f"it does not say that the rounds differ: {said[-800:]}")
            code, shown, said = dmoerm("run", *options, "--set", "labels.rounds=3", "--update", ranks=2)
            expect(f"exit code with more rounds and --update ({said[-1500:]})", code, 0)
            counts = collections.Counter(world.answers())
            expect("questions sent twice with --update", sum(1 for n in counts.values() if n > 1), 0)
            expect("pairs after three rounds", 2 * sum(len(pairs_of(run, f"label/{point}")) for point in POINTS), total)
            for point in POINTS:
                if not pairs_of(run, f"label-round-1/{point}") < pairs_of(run, f"label-round-2/{point}") < pairs_of(run, f"label/{point}"):
                    sys.exit(f"{point}: a round does not add to the pairs of the round before")
        finally:
            world.stop_server()
    print("run with rounds: all checks passed")


if __name__ == "__main__":
    main()
