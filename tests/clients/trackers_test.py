#!/usr/bin/env python3
"""MLflow and Weights & Biases read what `dmoerm report --mlflow --wandb` writes, each by its own package: every number of every training.
`wandb sync` sends the offline runs to a server of this test. Usage: trackers_test.py PROGRAM

Runs in the environment that launch/setup.sh --with clients makes (DMOERM_HOME/clients), and skips without it."""
import collections
import gzip
import http.server
import importlib.util
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "report"), str(TESTS / "support")]
import clients_environment  # noqa: E402
from fabricated_run import fabricate  # noqa: E402

PROGRAM = None
TASKS = ["base/category_a", "category/category_a", "expert/category_a/point_a1/point_a1", "single"]


def numbers(line):
    return {key: value for key, value in line.items() if isinstance(value, (int, float))}


class Receiver(http.server.BaseHTTPRequestHandler):
    """As much of W&B's server as `wandb sync` asks for. Keeps what it is sent by the run's id."""
    runs = collections.defaultdict(lambda: {"about": {}, "history": [], "files": {}})

    def log_message(self, *_):
        pass

    def body(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def graphql(self, query, variables):
        if "upsertBucket" in query:
            run = self.runs[variables["name"]]
            run["about"].update({key: value for key, value in variables.items() if value is not None and key not in run["about"]})
            project = {"id": "p", "name": run["about"]["project"], "entity": {"id": "e", "name": "someone"}}
            return {"upsertBucket": {"inserted": True, "bucket": {"id": "b", "name": variables["name"], "displayName": "", "description": "", "config": "{}",
                                                                  "sweepName": "", "historyLineCount": 0, "project": project}}}
        if "createRunFiles" in query:
            url = f"http://127.0.0.1:{self.server.server_port}/upload/{variables['run']}/"
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": [{"name": name, "uploadUrl": url + name} for name in variables["files"]]}}
        return {"viewer": {"id": "v", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}}

    def answer(self):
        data, reply = self.body(), {}
        upload, stream = re.fullmatch(r"/upload/([^/]+)/(.+)", self.path), re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
        if self.path == "/graphql":
            asked = json.loads(data)
            reply = {"data": self.graphql(asked["query"], asked.get("variables") or {})}
        elif upload:
            self.runs[upload[1]]["files"][upload[2]] = data
        elif stream:
            history = json.loads(data).get("files", {}).get("wandb-history.jsonl")
            if history:
                self.runs[stream[1]]["history"][history["offset"]:] = [json.loads(line) for line in history["content"]]
        sent = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PUT = answer


class Trackers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.scratch.name)
        fabricate(str(cls.folder / "made-up"), categories=1, points=1, groups=5, steps=3000)  # more than two blocks of W&B's log
        done = subprocess.run([PROGRAM, "report", cls.folder / "made-up", "--no-script", "--mlflow", cls.folder / "mlruns", "--wandb", cls.folder / "wandb"],
                              capture_output=True, text=True, check=True)
        cls.said = done.stdout
        cls.lines = {}
        for task in TASKS:
            with open(cls.folder / "made-up" / task / "metrics.jsonl", encoding="utf-8") as file:
                cls.lines[task] = [json.loads(line) for line in file]

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def needs(self, package):
        if importlib.util.find_spec(package) is None:
            self.skipTest(f"skipped: no {package}: launch/setup.sh --with clients")

    def test_mlflow(self):
        self.needs("mlflow")
        os.environ.update(MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_DISABLE_TELEMETRY="true")
        from mlflow.tracking import MlflowClient
        client = MlflowClient((self.folder / "mlruns").as_uri())
        experiment = client.get_experiment_by_name("made-up")
        runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
        self.assertEqual(sorted(runs), sorted([*TASKS, "test prompts"]))
        for task, lines in self.lines.items():
            self.assertEqual(runs[task].info.status, "FINISHED")
            for key in ("validation_accuracy", "validation_loss", "train_loss", "gradient_norm", "lr"):
                history = client.get_metric_history(runs[task].info.run_id, key)
                self.assertEqual([(m.step, m.value) for m in history], [(line["step"], line[key]) for line in lines if line[key] is not None], f"{task}: {key}")
        self.assertEqual(runs[TASKS[2]].data.params["point"], "point_a1")
        self.assertGreater(runs["test prompts"].data.metrics["accuracy.category_a.dmoerm"], 0.5)

    def test_wandb(self):
        self.needs("wandb")
        command = re.search(r"; wandb (sync .*) sends them", self.said)[1]
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = {**os.environ, "HOME": self.scratch.name, "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "WANDB_API_KEY": "0" * 40,
               "WANDB_ERROR_REPORTING": "false", "NO_PROXY": "127.0.0.1"}
        try:
            done = subprocess.run(["bash", "-c", f"{shlex.quote(sys.executable)} -m wandb {command}"], env=env, cwd=self.folder, capture_output=True, text=True,
                                  timeout=250, check=False)
        finally:
            server.shutdown()
            server.server_close()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        runs = {run["about"]["displayName"]: run for run in Receiver.runs.values()}
        self.assertEqual(sorted(runs), TASKS)
        for task, lines in self.lines.items():
            run = runs[task]
            self.assertEqual(run["about"]["project"], "made-up")
            sent = [{key: value for key, value in line.items() if not key.startswith("_")} | {"step": line["_step"]} for line in run["history"]]
            self.assertEqual(sent, [numbers(line) for line in lines], task)
            summary = json.loads(run["files"]["wandb-summary.json"])
            self.assertEqual(summary["validation_accuracy"], lines[-1]["validation_accuracy"], task)
        self.assertEqual(json.loads(runs[TASKS[2]]["about"]["config"])["point"]["value"], "point_a1")


if __name__ == "__main__":
    clients_environment.enter()
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
