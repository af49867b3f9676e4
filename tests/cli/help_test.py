#!/usr/bin/env python3
"""Every help text of every verb is a phrase that a colleague would say: it starts with a capital letter and has none of the house's banned words.
Every verb's help ends with an example that can be copied.

Usage: help_test.py PROGRAM"""

import re
import subprocess
import sys
import unittest

PROGRAM = None
COLUMN = 30  # where CLI11 begins descriptions
PREPOSITIONS = {"at", "by", "for", "from", "in", "of", "on", "that", "to", "where", "with", "without"}
BARE = re.compile(r"(?<!launch/)\bdmoerm [a-z-]")  # a command that only those find who have the program in their PATH
BANNED = re.compile(r" is no | are no |\b(anew|oftener|rightly|told by|goes by|what came of it|so often|in the mean|wants)\b", re.IGNORECASE)


def help_of(*verb):
    return subprocess.run([PROGRAM, *verb, "--help"], check=True, capture_output=True, text=True).stdout


def descriptions(text):
    """The descriptions of options, positionals and verbs in a help text, with the verbs' names."""
    found, verbs, section, name = [], [], "", ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            section = line.rstrip(":")
        elif section in ("Options", "Positionals", "Subcommands") and line.strip():
            if line[:COLUMN].strip():
                name = line.split()[0]
                if section == "Subcommands":
                    verbs.append(name)
                found.append((name, line[COLUMN:].strip()))
            else:  # the signature fills the columns, and its description has a line of its own
                found[-1] = (name, line[COLUMN:].strip())
    return found, verbs


def problems_of(name, description):
    first = description.split()[0] if description else ""
    if not description:
        return [f"{name}: no description"]
    problems = []
    if not first[0].isupper() and first != "dmoerm":
        problems.append(f"{name}: starts with a lower-case letter: {description}")
    if first.lower() in PREPOSITIONS:
        problems.append(f"{name}: starts with a preposition: {description}")
    if (banned := BANNED.search(description)) is not None:
        problems.append(f"{name}: says \"{banned.group().strip()}\": {description}")
    return problems


def example_problems(verb, text):
    """Whether the help of a verb ends with a command that can be copied: launch/dmoerm VERB ..."""
    title = " ".join(verb)
    examples = [line for line in text.splitlines() if line.startswith("Example")]
    if not examples:
        return [f"{title}: its help has no example"]
    problems = [f"{title}: a command to copy begins with launch/dmoerm: {line}" for line in examples if BARE.search(line)]
    if not any(re.search(rf"\blaunch/dmoerm (--np \d+ )?{title} ?", line) for line in examples):
        problems.append(f"{title}: its example is one of another verb: {examples}")
    return problems


class Help(unittest.TestCase):
    def test_every_description_is_a_phrase(self):
        waiting, seen, problems = [()], 0, []
        while waiting:
            verb = waiting.pop()
            text = help_of(*verb)
            title = " ".join(("dmoerm", *verb))
            problems += problems_of(title, text.split("\n", 1)[0].strip())
            if (banned := BANNED.search(text)) is not None:
                problems.append(f"{title}: says \"{banned.group().strip()}\"")
            found, verbs = descriptions(text)
            if verb:
                problems += example_problems(verb, text)
            for name, description in found:
                problems += problems_of(f"{title} {name}", description)
            seen += len(found)
            waiting += [(*verb, child) for child in verbs]
        self.assertEqual(problems, [], "\n" + "\n".join(problems))
        self.assertGreater(seen, 100)  # the sections were found

    def test_bad_descriptions_are_found(self):
        self.assertEqual(problems_of("--seed", "Seed of all random numbers"), [])
        for bad in ("seed of all random numbers", "Of each rank: its device", "Text that is no time", "Judged rightly", "of weights"):
            self.assertNotEqual(problems_of("--x", bad), [], bad)
        self.assertEqual(example_problems(("man",), "Example: launch/dmoerm man | man -l -\n"), [])
        for bad in ("", "Example: dmoerm man\n", "Example: launch/dmoerm plan\n"):
            self.assertNotEqual(example_problems(("man",), bad), [], bad)
        text = "Does it\nUsage: x\n\nOptions:\n  --out TEXT                  file to write\n  --a-long-name FLOAT:FLOAT in [0 - 1]=0.3\n" + " " * COLUMN + "of each rank\n"
        self.assertEqual(descriptions(text)[0], [("--out", "file to write"), ("--a-long-name", "of each rank")])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PROGRAM")
    PROGRAM = sys.argv.pop()
    unittest.main()
