#!/usr/bin/env python3
"""Documents name what is there: every relative link and heading that they link to, every path in backquotes below src/, tests/, launch/,
configs/, cluster/ or docs/. A path may hold * or {a,b}; one with a capitalised or bracketed part (NAME, <c>) stands for many."""
import glob
import os
import re
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:src|tests|launch|configs|cluster|docs)/[\w./*{},-]*[\w*}/])(?:[\s`]|:\d)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
PLACEHOLDER = re.compile(r"/[A-Z]+\b|_[A-Z]+\b|[<>]")


def anchors(text):
    """As GitHub makes them: lower case, spaces to dashes, punctuation dropped."""
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def expanded(path):
    found = re.search(r"\{([^}]*)\}", path)
    if not found:
        return [path]
    return [one for word in found.group(1).split(",") for one in expanded(path[:found.start()] + word + path[found.end():])]


def problems_of(root, document):
    full = os.path.join(root, document)
    with open(full, encoding="utf-8") as file:
        text = file.read()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(re.sub(r"`[^`\n]*`(?!\])", "", prose)):  # code that is no link's text
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = os.path.normpath(os.path.join(os.path.dirname(full), path)) if path else full
        if not os.path.exists(linked):
            yield f"{document}: links to {target}, which is not there"
        elif anchor and linked.endswith(".md"):
            with open(linked, encoding="utf-8") as file:
                if anchor not in anchors(file.read()):
                    yield f"{document}: links to {target}, which has no such heading"
    for path in PATH.findall(prose) if not document.endswith("CHANGELOG.md") else []:  # which names what was
        if PLACEHOLDER.search(path):
            continue
        for one in expanded(path):
            if not glob.glob(os.path.join(root, one)):
                yield f"{document}: names {one}, which is not there"


def documents(root):
    yield "README.md"
    for folder, _, files in os.walk(os.path.join(root, "docs")):
        yield from (os.path.relpath(os.path.join(folder, file), root) for file in sorted(files) if file.endswith(".md"))


def check_the_checks():
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "docs"))
        os.makedirs(os.path.join(root, "src", "nn"))
        open(os.path.join(root, "src", "nn", "a.cpp"), "w", encoding="utf-8").close()
        with open(os.path.join(root, "docs", "a.md"), "w", encoding="utf-8") as file:
            file.write("# A b: c!\n[x](#a-b-c) [x](https://a.b/c) `src/nn/a.{cpp,h}` `src/nn/a.cpp` `src/run/stage_NAME.cpp`\n"
                       "[x](gone.md) [x](a.md#gone) `src/gone.h`\n```sh\n[x](code.md)\n```\n")
        found = list(problems_of(root, "docs/a.md"))
        assert len(found) == 4, found
        for part, problem in zip(("gone.md", "a.md#gone", "src/nn/a.h", "src/gone.h"), found):
            assert part in problem, (part, problem)


def main():
    check_the_checks()
    problems = [problem for document in documents(ROOT) for problem in problems_of(ROOT, document)]
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
