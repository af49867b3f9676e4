#!/usr/bin/env python3
"""Follows docs/tutorial.md in a scratch folder: writes its files, runs its commands, and compares their output.

Blocks of the page and what they mean:
  ```jsonl title="PATH", ```yaml title="PATH"   a file to write
  ```sh                                         commands that end with code 0
  ```sh title="exit code N"                     a command that ends with code N
  ```sh title="once"                            set-up, which is not run here
  ```text title="tree"                          `PATH  what it is`: the run's folder holds these, and nothing at its top besides
  ```text title="output"                        lines that the last command printed
  ```text title="FILE"                          lines of that file
In lines that are compared every number stands for any number.
Usage: tutorial_test.py [PAGE]; needs the program in DMOERM_BUILD and the model minilm-l6 in DMOERM_MODELS, and skips (77) without the model.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def alike(line):
    """The line without numbers and padding, which may differ between machines."""
    return " ".join(NUMBER.sub("#", line).split())


def missing_lines(wanted, text):
    found = {alike(line) for line in text.splitlines()}
    return [line for line in wanted.splitlines() if alike(line) not in found]


def tree_problems(wanted, folder):
    """Paths of the page that do not exist, and entries of the run's folder that the page does not show."""
    paths = [line.split()[0] for line in wanted.splitlines()]
    for path in paths:
        full = os.path.join(folder, path)
        if not (os.path.isdir(full) if path.endswith("/") else os.path.isfile(full)):
            yield f"the tree shows {path}, which did not appear"
    run = os.path.commonpath(paths)
    shown = {os.path.relpath(path, run).split(os.sep)[0] for path in paths}
    for entry in sorted(set(os.listdir(os.path.join(folder, run))) - shown):
        yield f"{run}/{entry} appeared, which the tree does not show"


class Page:
    """Goes through the page's blocks in order."""

    def __init__(self, folder):
        self.folder = folder
        self.printed = ""
        self.commands = 0
        self.problems = []

    def take(self, kind, title, text):
        if kind in ("jsonl", "yaml"):
            path = os.path.join(self.folder, title)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        elif kind == "sh" and title != "once":
            self.run(text, int(title.removeprefix("exit code ")) if title else 0)
        elif kind == "text" and title == "tree":
            self.problems += tree_problems(text, self.folder)
        elif kind == "text":
            self.compare(title, text)
        elif kind != "sh":
            self.problems.append(f"no meaning is given to a block of {kind}")

    def run(self, command, code):
        environment = {**os.environ, "DMOERM_ROOT": ROOT}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=self.folder, env=environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.printed = done.stdout
        self.commands += 1
        if done.returncode != code:
            self.problems.append(f"exit code {done.returncode}, not {code}, of: {command}{done.stdout}")

    def compare(self, title, text):
        if title == "output":
            found = self.printed
        else:
            with open(os.path.join(self.folder, title), encoding="utf-8") as file:
                found = file.read()
        self.problems += [f"{title} has no such line: {line}" for line in missing_lines(text, found)]


def check_the_checks():
    """Differences from the page are found."""
    assert not missing_lines("| a | 1.000 |", "x\n| a |  0.5   |\n")
    assert missing_lines("| a | 1.000 |", "| b | 1.000 |\n") == ["| a | 1.000 |"]
    with tempfile.TemporaryDirectory() as folder:
        for path in ("runs/first/report", "runs/first/new"):
            os.makedirs(os.path.join(folder, path))
        problems = list(tree_problems("runs/first/report/  x\nruns/first/gone.json  x\n", folder))
        assert len(problems) == 2 and "gone.json" in problems[0] and "runs/first/new" in problems[1], problems


def main():
    check_the_checks()
    home = os.environ.get("DMOERM_HOME", os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "dmoerm"))
    model = os.path.join(os.environ.get("DMOERM_MODELS", os.path.join(home, "models")), "minilm-l6", "model.safetensors")
    if not os.path.isfile(model):
        print(f"skipped: no {model} (launch/setup.sh)")
        sys.exit(77)
    with open(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs", "tutorial.md"), encoding="utf-8") as file:
        blocks = BLOCK.findall(file.read())
    with tempfile.TemporaryDirectory(prefix="dmoerm-tutorial-") as folder:
        os.mkdir(os.path.join(folder, "launch"))
        script = os.path.join(folder, "launch", "dmoerm")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec "{ROOT}/launch/dmoerm" "$@"\n')
        os.chmod(script, 0o755)
        page = Page(folder)
        for block in blocks:
            page.take(*block)
    if page.commands < 4:
        page.problems.append(f"only {page.commands} commands were found on the page")
    if page.problems:
        sys.exit("\n".join(page.problems))
    print(f"{page.commands} commands, {len(blocks)} blocks: all match the page")


if __name__ == "__main__":
    main()
