#!/usr/bin/env python3
"""Shell completion and the manual page know every verb and option that --help lists. Usage: completion_test.py PROGRAM"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
OPTION = re.compile(r"^  (?:-\w,)?(--[a-z][a-z0-9-]*)", re.MULTILINE)

# Sets up what bash gives a completion function, and prints what the function gives back.
HARNESS = r"""
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
compopt() { echo "files: $*"; }
_dmoerm
printf '%s\n' "${COMPREPLY[@]}"
"""


def printed(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=True).stdout


def verbs_of(help_text):
    listed = help_text.split("Subcommands:\n")
    return re.findall(r"^  ([a-z][a-z-]*) ", listed[1], re.MULTILINE) if len(listed) > 1 else []


def commands(path=()):
    """(words, help) of the program, its verbs and their actions."""
    text = printed(*path, "--help")
    yield path, text
    for verb in verbs_of(text):
        yield from commands((*path, verb))


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="dmoerm_completion_")
        cls.script = {}
        for shell in ("bash", "zsh", "fish"):
            cls.script[shell] = f"{cls.folder}/{shell}"
            with open(cls.script[shell], "w", encoding="utf-8") as file:
                file.write(printed("completion", shell))
        cls.commands = list(commands())

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def complete(self, *words):
        done = subprocess.run(["bash", "-c", HARNESS, "bash", self.script["bash"], "dmoerm", *words], capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split("\n")[:-1]

    def test_the_help_is_understood(self):
        words = {" ".join(path) for path, _ in self.commands}
        self.assertLessEqual({"run", "label", "label-store", "label-store export", "inspect tokens", "completion", "man"}, words)
        self.assertNotIn("labels", words, "a verb that is not listed")

    def test_bash_offers_every_verb_and_option(self):
        for path, text in self.commands:
            offered = self.complete(*path, "")
            self.assertLessEqual(set(verbs_of(text)) | set(OPTION.findall(text)), set(offered), path)
            self.assertNotIn("labels", offered)

    def test_bash_offers_what_fits(self):
        self.assertEqual(self.complete("la"), ["label", "label-store"])
        self.assertEqual(self.complete("--np", "2", "la"), ["label", "label-store"], "after options of launch/dmoerm")
        self.assertEqual(self.complete("label", "--dr"), ["--dry-run"])
        self.assertEqual(self.complete("score", "--device", ""), ["cpu", "cuda", "auto"])
        self.assertEqual(self.complete("score", "--device", "=", "a"), ["auto"], "--device=a")
        self.assertEqual(self.complete("label-store", "export", "somewhere", "--format", "c"), ["csv"])
        self.assertEqual(self.complete("completion", "z"), ["zsh"])

    def test_bash_completes_files_where_a_path_is_meant(self):
        for words in (("run", "--config", "a"), ("run", "--config", "=", "a"), ("score", "--bundle", ""), ("status", "r"), ("label-store", "stats", "r")):
            self.assertEqual(self.complete(*words)[0], "files: -o default", words)
        for words in (("plan", "--nodes", ""), ("label", "--points", ""), ("r",)):
            self.assertNotIn("files: -o default", self.complete(*words), words)

    def test_scripts_are_valid(self):
        for shell in ("bash", "zsh", "fish"):
            with self.subTest(shell):
                if not shutil.which(shell):
                    self.skipTest(f"there is no {shell}")
                subprocess.run([shell, "-n", self.script[shell]], check=True)

    @unittest.skipUnless(shutil.which("fish"), "there is no fish")
    def test_fish_offers_what_fits(self):
        def complete(line):
            command = f"source {self.script['fish']}; complete -C '{line}'"
            done = subprocess.run(["fish", "--no-config", "-c", command], capture_output=True, text=True, check=True, env={**os.environ, "HOME": self.folder})
            return [one.split("\t")[0] for one in done.stdout.splitlines()]
        self.assertEqual(complete("dmoerm la"), ["label", "label-store"])
        self.assertEqual(complete("dmoerm score --device a"), ["auto"])
        for path, text in self.commands:
            self.assertLessEqual(set(OPTION.findall(text)), set(complete(" ".join(("dmoerm", *path, "--")))), path)

    def test_the_manual_page_has_every_verb_and_option(self):
        page = printed("man")
        plain = page.replace("\\-", "-")
        for path, text in self.commands:
            if path:
                self.assertIn(f"\n.SS dmoerm {' '.join(path)}\n", plain)
            for option in OPTION.findall(text):
                self.assertIn(f"\\fB{option}\\fR", plain)
        self.assertIn(printed("--version").split(" (")[0], page)
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True, check=True)
            self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main()
