#!/usr/bin/env python3
"""Every verb, option and configuration key in README and docs/ exists. Usage: documented_commands_test.py PROGRAM

Looks at every `launch/dmoerm ...` in code, at every key given to --set, and at every `section.key` in backquotes.
docs/CHANGELOG.md, which has old names, is left out."""
import functools
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
SECTIONS = "backbone|compute|data|categories|labels|router|base|experts|aggregator|cluster|slurm|watch"
KEY = re.compile(rf"^((?:{SECTIONS})(?:\[\])?(?:\.[a-z_0-9]+(?:\[\])?)+)(?:[:=\s].*)?$", re.DOTALL)
OF_A_FILE = re.compile(r"\.(?:md|json|jsonl|yaml|h5|safetensors|py|cpp|h|svg|log|gz|zst|sqlite)$")
OF_LAUNCH = {"--np", "--hosts", "--map-by"}  # launch/dmoerm's own options, each with a value


class Program:
    def __init__(self, path):
        self.path = path

    @functools.cache
    def help(self, *verb):
        done = subprocess.run([self.path, *verb, "--help"], capture_output=True, text=True, check=False)
        return done.stdout if f"Usage: dmoerm {' '.join(verb)}" in done.stdout else None

    @functools.cached_property
    def keys(self):
        """Every key and section of the reference, with list elements as [] and without."""
        done = subprocess.run([self.path, "inspect", "config", "--reference"], capture_output=True, text=True, check=True)
        keys = set(re.findall(r"^\| `([^`]+)` \|", done.stdout, re.MULTILINE))
        keys |= {key[:place] for key in keys for place, character in enumerate(key) if character == "."}
        return keys | {key.replace("[]", "") for key in keys}


def code_of(text):
    """Pieces of code: lines of fenced blocks with continued lines joined, and texts in backquotes."""
    for block in FENCE.findall(text):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    yield from INLINE.findall(FENCE.sub("", text))


def words_of(command):
    command = command.split(" #")[0]
    try:
        return shlex.split(command)
    except ValueError:  # a shortened command with an open quote
        return command.split()


def command_problems(program, command):
    words = words_of(command)
    while words and words[0] in OF_LAUNCH:
        words = words[2:]
    if not words or words[0].startswith("-") or not re.fullmatch(r"[a-z-]+", words[0]):
        return
    if program.help(words[0]) is None:
        yield f"there is no verb {words[0]}"
        return
    verbs = [[words[0]]]
    if "SUBCOMMAND" in program.help(words[0]) and len(words) > 1:
        verbs = [[words[0], one] for one in words[1].split("|") if re.fullmatch(r"[a-z]+", one)]
    for verb in verbs:
        text = program.help(*verb)
        if text is None:
            yield f"there is no {' '.join(verb)}"
            continue
        for word in words[1:]:
            if word in ("|", "&&", ";", ">"):
                break
            option = re.match(r"--[a-z][a-z-]*", word)
            if option and not re.search(rf"{option.group(0)}(?![a-z-])", text):
                yield f"{' '.join(verb)} has no option {option.group(0)}"
    for place, word in enumerate(words[:-1]):
        if word == "--set":
            yield from key_problems(program, words[place + 1].split("=")[0])


def key_problems(program, key):
    plain = re.sub(r"\.\d+", "", key).replace("[]", "")
    if re.fullmatch(r"[a-z_0-9.]+", plain) and plain not in program.keys:
        yield f"there is no key {key}"


def problems_of(program, text):
    for code in code_of(text):
        for command in re.findall(r"(?:^|[\s(=])launch/dmoerm ([^`\n]*)", code):
            yield from command_problems(program, command)
        key = KEY.match(code)
        if key and not OF_A_FILE.search(key.group(1)):
            yield from key_problems(program, key.group(1))


def check_the_checks(program):
    text = ("```sh\nlaunch/dmoerm --np 2 run --config a.yaml --set base.no_such=1 \\\n  --no-such-option  # --nor-this\n```\n"
            "`launch/dmoerm no-such-verb` `router.no_such: 3` `data.md` `base.lr` `launch/dmoerm inspect config|gone`\n")
    found = list(problems_of(program, text))
    wanted = ["option --no-such-option", "key base.no_such", "verb no-such-verb", "key router.no_such", "no inspect gone"]
    assert len(found) == len(wanted) and all(part in problem for part, problem in zip(wanted, found)), found


def main():
    program = Program(sys.argv[1])
    check_the_checks(program)
    problems = []
    documents = ["README.md"]
    for folder, _, files in os.walk(os.path.join(ROOT, "docs")):
        documents += [os.path.relpath(os.path.join(folder, file), ROOT) for file in sorted(files) if file.endswith(".md")]
    for document in documents:
        if document.endswith("CHANGELOG.md"):
            continue
        with open(os.path.join(ROOT, document), encoding="utf-8") as file:
            problems += [f"{document}: {problem}" for problem in problems_of(program, file.read())]
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(documents)} documents: every verb, option and key exists")


if __name__ == "__main__":
    main()
