#!/usr/bin/env python3
"""docs/licences.md names a licence for every package that set-up installs, and no package that it does not. Exits 1 and lists every difference."""
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def installed(setup, requirements):
    """Names of Debian packages in set-up's lists, and of Python packages in the files of requirements."""
    names = set()
    for listed in re.findall(r"packages\+?=\(([^)]*)\)", setup):
        names |= {word for word in re.sub(r"#.*", "", listed).split() if re.fullmatch(r"[a-z0-9][a-z0-9+.-]*", word)}
    for text in requirements:
        names |= set(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==", text, re.M))
    return names


def licensed(document):
    names = set()
    for packages, licence in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", document, re.M):
        if licence.strip():
            names |= set(re.findall(r"`([^`]+)`", packages))
    return names


def problems_of(wanted, given):
    yield from (f"docs/licences.md: {name} is installed, but has no licence there" for name in sorted(wanted - given))
    yield from (f"docs/licences.md: {name} is not installed by set-up" for name in sorted(given - wanted))


def main():
    assert list(problems_of({"a", "b"}, {"b", "c"})) == ["docs/licences.md: a is installed, but has no licence there", "docs/licences.md: c is not installed by set-up"]
    assert installed("packages=(g++ libx-dev\n  y)\npackages+=(z)", ["one==1\n# two==2\nthree[x]==3 --hash=x\n"]) == {"g++", "libx-dev", "y", "z", "one", "three"}
    requirements = [read(path) for path in glob.glob(os.path.join(ROOT, "launch", "requirements*.txt"))]
    problems = list(problems_of(installed(read("launch/setup.sh"), requirements), licensed(read("docs/licences.md"))))
    print("\n".join(problems) or "every package has its licence")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
