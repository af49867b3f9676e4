#!/usr/bin/env python3
"""Runs the commands of README and docs/ in a scratch folder, with tiny models and made-up data under the names that the pages use.

Every line of every ```sh block is run and must end with code 0, unless ELSEWHERE says where it is tried instead, or why it cannot be tried on
any machine. docs/tutorial.md has a test of its own, which also compares what is printed.
Usage: manual_test.py [TEXT]: only commands that hold TEXT. Needs the program in DMOERM_BUILD.
"""
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import tiny_model  # noqa: E402

BLOCK = re.compile(r"^ *```sh[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
# What a command begins with or holds -> where it is tried, or why it is not.
ELSEWHERE = {
    "launch/quickstart.sh": "sets up and builds",
    "launch/test.sh": "runs the tests",
    "launch/dev ": "builds and runs the tests",
    "launch/setup.sh": "fetches packages",
    "launch/torture.sh": "the tests same_bits",
    "pip install": "fetches packages",
    "import datasets": "fetches data from the Hub",
    "--audit 50": "asks a server of the reader; the test label_audit",
    "label=$(sbatch": "local_slurm",
    "sbatch ": "local_slurm",
    "#SBATCH": "needs a cluster of two partitions",
    "srun ": "needs a cluster of two partitions",
    "--submit": "local_slurm",
    "--hosts": "local_hosts",
    "apptainer ": "needs apptainer",
    "DMOERM_CONTAINER": "needs apptainer",
    "cluster/": "needs root and other packages; local_slurm",
    "export DMOERM_HOME": "for a cluster's shared folders",
    "zcat ": "message_trees",
    "vllm serve": "needs vllm",
    "ssh ": "needs another host",
    "launch/evidence.sh": "evidence_verb and launch_scripts",
    "http://gpu7": "needs another host; the tests of eval",
    "tensorboard ": "needs tensorboard",
    "configs/real/": "hours of training on real data",
    "openrlhf.cli": "the tests of the label clients",
    "verl.trainer": "the tests of the label clients",
    "docs/guides/": "the tests of the label clients",
    "DMOERM_SERVER": "the tests of the label clients",
    "/classify": "the tests of the label clients",
    "printf ": "the tests of the label clients",
}
# What a page leaves to its reader -> what stands for it here.
STANDS_FOR = {"ingest FILE --model DIR --template NAME": "ingest pairs.jsonl --model model --template plain", "/tmp/a.html": "elsewhere.html",
              "watch.port=8080": "watch.port=0", "data FILE --out ": "data runs/quickstart-data/synth.jsonl --out from-data-",
              "data my/a.jsonl.gz my/b.jsonl": "data pairs.jsonl runs/quickstart-data/synth.jsonl"}
PIECES = {"customer_support": ["empathy", "next_step", "professional"], "story_opening": ["imagery", "mystery", "voice"],
          "howto_answer": ["order", "directness", "self_contained"]}
SHORT = {"lr": 1e-2, "groups_per_step": 4, "steps_max": 4, "eval_every_steps": 2, "lora_rank": 2}


class Judge(http.server.BaseHTTPRequestHandler):
    """Prefers the response with the word GOOD, else the one whose text sorts first."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        text = "\n".join(m["content"] for m in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"])
        shown = [re.search(rf"<response_{i} [0-9a-f]+>(.*?)</response_{i}", text, re.DOTALL).group(1) for i in (1, 2)]
        first = min(shown, key=lambda response: ("GOOD" not in response, response)) == shown[0]
        reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": json.dumps({"verdict": "1" if first else "2"})},
                                         "finish_reason": "stop"}], "usage": {"prompt_tokens": 100, "completion_tokens": 5}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def commands_of(text):
    """Blocks of commands: continued lines are joined, and what stands behind two blanks and # is left out."""
    for block in BLOCK.findall(text):
        lines = re.sub(r"\\\n\s*", " ", block).splitlines()
        yield [command for command in (re.sub(r"(?:^|\s+)# .*$", "", line.strip()) for line in lines) if command]


class World:
    """The folder in which a reader would be."""

    def __init__(self, folder, judge_port):
        self.folder, self.servers = folder, []
        self.environment = dict(os.environ, DMOERM_MODELS=os.path.join(folder, "models"), OMP_NUM_THREADS="1")
        os.mkdir(self.at("launch"))
        with open(self.at("launch/dmoerm"), "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec "{ROOT}/launch/dmoerm" "$@"\n')
        os.chmod(self.at("launch/dmoerm"), 0o755)
        shutil.copytree(os.path.join(ROOT, "configs"), self.at("configs"))
        for model in ("model", "models/minilm-l6"):
            tiny_model.write_model(self.at(model))
        self.write_data()
        self.write_config("configs/quickstart.yaml", "quickstart", "runs/quickstart-data/synth.jsonl")
        self.write_config("configs/my.yaml", "edited", "runs/quickstart-data/synth.jsonl")
        self.write_config("mine.yaml", "mine", "runs/quickstart-data/synth.jsonl", base=dict(SHORT, lora_rank=16, tuning="full"))
        judge = {"model": "judge", "endpoints": [{"url": f"http://127.0.0.1:{judge_port}/v1"}], "price_prompt": 0.1, "price_completion": 0.1}
        self.write_config("my.yaml", "my", "pairs.jsonl", {"summarization": ["coherence", "relevance"]}, phase1_share=0.9,
                          labels={"judges": [judge], "pairs": {"choose": "per_group", "per_group": 1}})
        for config in ("configs/quickstart.yaml", "mine.yaml"):
            self.run(f"launch/dmoerm run --config {config}")
        for name in ("a", "b"):
            os.symlink("quickstart", self.at(f"runs/{name}"))
        self.run("launch/dmoerm export --bundle runs/quickstart/bundle --out made")
        self.run("launch/dmoerm export --bundle runs/quickstart/bundle --out their-model --expert howto_answer/order --format merged")
        os.symlink("made/experts/howto_answer/order", self.at("their-adapter"))
        os.symlink("made/base", self.at("their-base"))

    def at(self, path):
        return os.path.join(self.folder, path)

    def write_rows(self, path, rows):
        with open(self.at(path), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def write_data(self):
        for path in ("runs/quickstart-data", "runs/labels-data"):
            os.makedirs(self.at(path))
            self.run(f"launch/dmoerm synth --out {path}/synth.jsonl --groups 40")
        self.run("launch/dmoerm synth --out lists.jsonl --lists --groups 4 --responses 16")
        pairs = [{"prompt": f"sum up {i}", "chosen": f"a GOOD one of {i % 7}", "rejected": f"poor {i % 5}", "split": split}
                 for i, split in enumerate(["train"] * 60 + ["validation"] * 15 + ["test"] * 15)]
        self.write_rows("pairs.jsonl", pairs)
        self.write_rows("test.jsonl", [row for row in pairs if row["split"] == "test"])
        for path in ("prompts.jsonl", "answers.jsonl"):
            self.write_rows(path, [{"prompt": row["prompt"], "responses": [row["chosen"], row["rejected"]]} for row in pairs[:9]])
        self.write_rows("rewardbench.jsonl", [{"prompt": f"p {i}", "chosen": "a b", "rejected": "c", "subset": subset, "id": i}
                                              for i, subset in enumerate(["alpacaeval-easy", "refusals-offensive", "hep-cpp", "mt-bench-hard"])])

    def write_config(self, path, name, rows, categories=None, base=None, **more):
        config = {"name": name, "runs_dir": self.at("runs"), "backbone": {"dir": self.at("model"), "chat_template": "plain"},
                  "compute": {"device": "cpu", "threads": 1, "micro_batch_tokens": 1024}, "data": {"inputs": [{"path": self.at(rows)}], "max_length": 200},
                  "categories": [{"name": c, "points": points} for c, points in (categories or PIECES).items()], "router": {"steps_max": 5},
                  "base": base or dict(SHORT, tuning="lora"), "experts": {"labels_min": 4, "train": SHORT}, "aggregator": {"kind": "mean"}, "folds": 0,
                  "slurm": {"time": "60"}, **more}
        if len(config["categories"]) == 1:
            config["data"]["inputs"][0]["category"] = config["categories"][0]["name"]
        with open(self.at(path), "w", encoding="utf-8") as file:
            json.dump(config, file)

    def run(self, command):
        """The output of a command, or an AssertionError with it."""
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=self.folder, env=self.environment, text=True, timeout=600,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, f"code {done.returncode} of {command}\n{done.stdout[-1500:]}"
        return done.stdout

    def serve(self, command, port):
        command = re.sub(r" --port \d+| &$", "", command) + f" --port {port}"
        server = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.servers.append(server)
        while server.poll() is None:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(f"{command} ended: {server.stderr.read()[-800:]}")

    def end_servers(self):
        for server in self.servers:
            server.terminate()
            server.communicate(timeout=120)
            assert server.returncode in (0, 143, -15), f"a server ended with {server.returncode}"
        self.servers = []

    def run_block(self, commands):
        """Run what is not tried elsewhere. @return the number of commands that were run, and the rules of ELSEWHERE that held"""
        ran, held, port = 0, set(), free_port()
        for command in commands:
            rule = next((text for text in ELSEWHERE if command.startswith(text) or text in command), None)
            if rule is not None:
                held.add(rule)
                continue
            for text, here in STANDS_FOR.items():
                command = command.replace(text, here)
            if " serve " in command:
                self.serve(command, port)
            else:
                self.run(re.sub(r"(localhost|127\.0\.0\.1):8000", rf"\1:{port}", command))
            ran += 1
        self.end_servers()
        return ran, held


def pages():
    yield "README.md"
    for folder, _, files in os.walk(os.path.join(ROOT, "docs")):
        for file in sorted(files):
            if file.endswith(".md") and file not in ("CHANGELOG.md", "tutorial.md"):
                yield os.path.relpath(os.path.join(folder, file), ROOT)


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    problems, ran, held = [], 0, set()
    with tempfile.TemporaryDirectory(prefix="dmoerm-manual-") as folder, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge) as judge:
        threading.Thread(target=judge.serve_forever, daemon=True).start()
        world = World(folder, judge.server_port)
        for page in pages():
            with open(os.path.join(ROOT, page), encoding="utf-8") as file:
                blocks = list(commands_of(file.read()))
            for block in blocks:
                try:
                    count, rules = world.run_block([command for command in block if only in command])
                    ran, held = ran + count, held | rules
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    problems.append(f"{page}: {error}")
                    world.end_servers()
        judge.shutdown()
    if not only:
        problems += [f"no command is tried elsewhere as \"{rule}\": remove the rule" for rule in set(ELSEWHERE) - held]
        if ran < 40:
            problems.append(f"only {ran} commands were found")
    if problems:
        sys.exit("\n".join(problems))
    print(f"{ran} commands ran")


if __name__ == "__main__":
    main()
