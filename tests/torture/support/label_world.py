"""Shared by the torture tests of labelling: data, a judge in a process of its own, the labeller, and checks by the judge's log."""
import collections
import json
import os
import re
import subprocess
import time

ROOT, BUILD = os.environ["DMOERM_ROOT"], os.environ["DMOERM_BUILD"]
BINARY = os.path.join(BUILD, "dmoerm")
STORED = re.compile(r"stored=([0-9a-f]{64})")


class World:
    """A folder with synthetic data, one judge server and one label store."""

    def __init__(self, folder, groups, seed, server_options=()):
        self.folder, self.port, self.server = folder, 0, None
        self.log, self.store = os.path.join(folder, "judge.log"), os.path.join(folder, "store")
        self.server_options = list(server_options)
        data = os.path.join(folder, "data.jsonl")
        subprocess.run([BINARY, "synth", "--groups", str(groups), "--seed", str(seed), "--out", data], check=True, stdout=subprocess.DEVNULL)
        self.start_server()
        self.config = os.path.join(folder, "label.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(f"""name: torture
runs_dir: {folder}/runs
log_level: debug
backbone: {{dir: {folder}}}
data: {{inputs: [{{path: {data}}}]}}
categories:
  - {{name: customer_support, points: [empathy, next_step, professional]}}
  - {{name: story_opening, points: [imagery, mystery, voice]}}
  - {{name: howto_answer, points: [order, directness, self_contained]}}
labels:
  store: {self.store}
  judges:
    - {{model: judge, endpoints: [{{url: "http://127.0.0.1:{self.port}/v1"}}], price_prompt: 1, price_completion: 4}}
""")

    def start_server(self):
        port_file = os.path.join(self.folder, "port")
        if os.path.exists(port_file):
            os.remove(port_file)
        command = [os.path.join(BUILD, "tests", "judge_server", "judge_server"), "--port", str(self.port), "--port-file", port_file, "--log", self.log]
        self.server = subprocess.Popen(command + self.server_options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(1000):
            if os.path.exists(port_file):
                break
            time.sleep(0.01)
        with open(port_file, encoding="utf-8") as f:
            self.port = int(f.read())

    def stop_server(self):
        self.server.kill()
        self.server.wait()

    def label(self, output, *options, environment=None):
        """Start the labeller; its output goes to the file `output`."""
        with open(output, "w", encoding="utf-8") as f:
            return subprocess.Popen([BINARY, "label", "--config", self.config, *options], stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                    env=dict(os.environ, OMP_NUM_THREADS="1", DMOERM_JUDGE_DIR=f"{ROOT}/configs/judge", **(environment or {})))

    def answers(self):
        """Hashes of the bodies that the judge has answered with 200, in order."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as f:
            lines = [line.split() for line in f if line.endswith("\n")]
        return [line[0] for line in lines if line[2] == "200"]

    def total(self):
        """Number of requests of a complete labelling."""
        shown = subprocess.run([BINARY, "label", "--config", self.config, "--dry-run"], check=True, capture_output=True, text=True,
                               env=dict(os.environ, DMOERM_JUDGE_DIR=f"{ROOT}/configs/judge")).stdout
        return int(next(line for line in shown.splitlines() if line.startswith("| all ")).split("|")[2])

    def verifies(self):
        return subprocess.run([BINARY, "label-store", "verify", self.store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def stored_keys(self):
        """Keys of all labels in the sealed segments."""
        shown = subprocess.run([BINARY, "label-store", "export", self.store], check=True, capture_output=True, text=True).stdout
        return {json.loads(line)["key"] for line in shown.splitlines()}


def said_stored(output):
    """Keys that a labeller has reported as stored."""
    with open(output, encoding="utf-8", errors="replace") as f:
        return set(STORED.findall(f.read()))


class Ledger:
    """Who paid for what: each start of the labeller adds what the judge answered and what was reported as stored."""

    def __init__(self):
        self.answered, self.stored, self.in_flight = collections.Counter(), set(), collections.Counter()
        self.seen = self.asked_again = 0

    def add(self, answers, stored):
        """@param answers  of the judge, since its start  @param stored  by the start that has just ended"""
        fresh = answers[self.seen:]
        self.seen = len(answers)
        self.asked_again += sum(1 for key in fresh if key in self.stored)
        self.answered.update(fresh)
        self.stored |= stored
        self.in_flight.update({key for key in fresh if key not in stored})

    def paid_twice(self):
        """Repeated answers that no kill explains; a start that died with the question in flight explains one."""
        return sum(max(0, count - 1 - self.in_flight[key]) for key, count in self.answered.items())

    def in_flight_again(self):
        return sum(count - 1 for count in self.answered.values()) - self.paid_twice()
