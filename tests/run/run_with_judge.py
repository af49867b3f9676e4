"""`dmoerm run` with a judge: experts train on finished points while others are labelled; a limit stops the run cleanly and the same command with a higher limit continues; no
question is sent twice; the report has the judge's page."""
import collections
import json
import os
import subprocess
import sys
import tempfile

ROOT, BUILD = os.environ["DMOERM_ROOT"], os.environ["DMOERM_BUILD"]
sys.path.insert(0, os.path.join(ROOT, "tests", "torture", "support"))
from label_world import World  # noqa: E402


def dmoerm(*arguments, ranks=0):
    command = [f"{ROOT}/launch/dmoerm", *(["--np", str(ranks)] if ranks else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout, done.stderr


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: expected {wanted}, found {found}")


def main():
    with tempfile.TemporaryDirectory(prefix="dmoerm-run-with-judge-") as folder:
        world = World(folder, 28, 3, ["--latency-ms", "2"])
        os.rename(os.path.join(folder, "data.jsonl"), os.path.join(folder, "synth.jsonl"))
        os.environ["DMOERM_DATA"] = folder
        os.environ.setdefault("DMOERM_MODELS", os.path.join(os.environ.get("DMOERM_HOME", os.path.expanduser("~/.cache/dmoerm")), "models"))
        judge = f"labels.judges=[{{model: judge, endpoints: [{{url: \"http://127.0.0.1:{world.port}/v1\"}}]}}]"
        run = ["run", "--config", f"{ROOT}/configs/small/same_bits.yaml", "--set", f"runs_dir={folder}/runs", "--set", judge, "--set", f"labels.store={world.store}"]
        try:
            code, shown, said = dmoerm("label", *run[1:], "--dry-run")
            expect("dry run", code, 0)
            total = int(next(line for line in shown.splitlines() if line.startswith("| all ")).split("|")[2])
            expect("requests of the dry run", len(world.answers()), 0)
            code, shown, said = dmoerm("label", *run[1:], "--dry-run", "--set", "phase1_share=0.95")
            if int(next(line for line in shown.splitlines() if line.startswith("| all ")).split("|")[2]) <= total:
                sys.exit("the dry run counts groups whose verdicts training does not read")
            # The limit is enough for some points: their experts train, the others wait.
            code, shown, said = dmoerm(*run, "--set", f"labels.budget.requests_max={total // 2}", ranks=2)
            expect(f"exit code at the limit ({said[-800:]})", code, 3)
            expect("requests at the limit", len(world.answers()), total // 2)
            if "budget reached" not in said or "run the same command again to continue [labelling-limit-reached]" not in said:
                sys.exit(f"the limit is not explained: {said[-800:]}")
            experts = os.listdir(f"{folder}/runs/same-bits/expert")
            if not experts:
                sys.exit("no expert was trained on the points that were finished")
            code, shown, said = dmoerm(*run, ranks=2)
            expect(f"exit code of the whole run ({said[-1500:]})", code, 0)
            counts = collections.Counter(world.answers())
            expect("questions", len(counts), total)
            expect("questions sent twice", sum(1 for n in counts.values() if n > 1), 0)
            for part in ("Labels of the judges", "position bias", "The model:"):
                if part not in shown:
                    sys.exit(f"\"{part}\" is not in the report")
            code, shown, said = dmoerm(*run, ranks=2)
            expect("exit code of a second run", code, 0)
            expect("questions after it", len(world.answers()), total)
            # A second labelling chooses the pairs of which the experts of the finished model are least sure; all of them have answers, so it costs nothing.
            uncertain = ["--set", "name=second", "--set", "labels.pairs.choose=uncertain", "--set", "labels.pairs.pairs_max=20",
                         "--set", f"labels.pairs.bundle={folder}/runs/same-bits/bundle"]
            code, shown, said = dmoerm("label", *run[1:], *uncertain)
            expect(f"exit code of the uncertain pairs ({said[-800:]})", code, 0)
            expect("questions after them", len(world.answers()), total)
            pairs = sum(len(json.loads(line)["pairs"]) for line in open(f"{folder}/runs/second/label/story_opening/imagery/verdicts.jsonl", encoding="utf-8"))
            expect("uncertain pairs of a point", pairs, 20)
            code, shown, said = dmoerm("label", *run[1:], "--points", "story_opening/imagery")
            expect(f"exit code of one point ({said[-800:]})", code, 0)
            if "customer_support/empathy" not in shown:
                sys.exit("labelling one point left the others out of the report")
            code, shown, said = dmoerm(*run, "--set", "labels.samples=2", "--set", "labels.judges.0.temperature=1")
            expect("exit code with other labels and without --update", code, 2)
            if "label/" not in said:
                sys.exit(f"it does not say which labels differ: {said[-800:]}")
        finally:
            world.stop_server()
    print("run with a judge: all checks passed")


if __name__ == "__main__":
    main()
