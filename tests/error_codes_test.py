#!/usr/bin/env python3
"""Every refusal of the program has a code of its own, and docs/errors.md lists all codes (`--write` brings it up to date).

A code stays when the words of its message change. One that is no longer thrown stays in the document's list of retired codes, so that
nobody gives it another meaning. Exits 1 and lists every violation. First plants one of each kind and expects it to be found.
"""
import collections
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = "docs/errors.md"
EXIT = {"ConfigError": "2", "DataError": "2", "ShapeError": "2", "IoError": "2", "NumericError": "2", "RowError": "2", "Stopped": "3"}
THROWN = re.compile(r"\b(?:throw|return)\s+(?:\w+::)*(?P<type>ConfigError|DataError|ShapeError|IoError|CommError|NumericError|Stopped|Paused|RowError|Error)"
                    r"(?:::unusable)?\((?P<rest>[^;]*?);", re.S)
PROBLEM = re.compile(r"\bproblems_?(?:\.|->)add\((?P<rest>[^;]*?);", re.S)
FAIL = re.compile(r"\b(?:fail|problem)\((?P<rest>[^;]*?);", re.S)
CODE = re.compile(r'(?:^|[,?:])\s*"(?P<code>[a-z0-9]+(?:-[a-z0-9]+)+)"\s*[,:)]')
PASSED_ON = re.compile(r"\bcode\b|ErrorCode\(\)")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
HEAD = """# Errors

A refusal ends with its code in brackets: `run.yaml:8:3: base.lora_rnak: unknown key, did you mean lora_rank? [unknown-key]`. The code stays when the words
change, so scripts and tests can rely on it, and a question about a message is easier to find under it. The message says where the
trouble is and what to do; `{}` stands for a name or a number. The second column has the exit code of the program when the refusal ends
it: 1 = the work failed; 2 = the command, the configuration or the input is wrong; 3 = stopped, and the same command continues. A refusal
of one row of data ends the program only where rows may not be dropped.

"""


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def sites(files):
    """Yield (path, line, type, code or None, message pattern) of every refusal in {path: text}."""
    for path, text in sorted(files.items()):
        for kind, pattern, within in (("", THROWN, ""), ("ConfigError", PROBLEM, ""), ("ConfigError", FAIL, "src/config/"), ("IoError", FAIL, "src/base/files.cpp")):
            if not path.startswith(within):
                continue
            for found in pattern.finditer(text):
                rest = found["rest"]
                codes = [c["code"] for c in CODE.finditer(rest)]
                if not codes and PASSED_ON.search(rest):
                    continue
                after = rest[rest.find(codes[-1]) + len(codes[-1]) + 1:] if codes else rest
                words = "".join(t for t in TEXT.findall(after.split("fmt::format(", 1)[-1]) if not CODE.search(f'"{t}",'))
                for code in codes or [None]:
                    yield path, line_of(text, found.start()), kind or found["type"], code, words.replace('\\"', '"').replace("\\n", " ")


def table(files):
    rows = collections.OrderedDict()
    for _, _, kind, code, words in sites(files):
        if code:
            exits, messages = rows.setdefault(code, (set(), []))
            exits.add(EXIT.get(kind, "1"))
            if words and words not in messages:
                messages.append(words)
    lines = ["| code | exit | message |", "|---|---|---|"]
    for code in sorted(rows):
        exits, messages = rows[code]
        shown = "<br>".join(m.replace("|", "\\|").replace("<", "&lt;") for m in messages[:2]) or "the words of what was refused"
        lines.append(f"| `{code}` | {', '.join(sorted(exits))} | {shown} |")
    return "\n".join(lines) + "\n"


def retired(document):
    return re.findall(r"^- `([a-z0-9-]+)`", document.partition("## Retired codes")[2], re.M)


def listed(document):
    return re.findall(r"^\| `([a-z0-9-]+)`", document, re.M)


def violations(files, document):
    seen = set()
    for path, line, kind, code, _ in sites(files):
        if code is None:
            yield f"{path}:{line}: this {kind} has no code: write one before the message"
        else:
            seen.add(code)
    for code in listed(document):
        if code not in seen and code not in retired(document):
            yield f"{DOCUMENT}: no refusal has the code {code} any more: give it back its code, or list it under \"Retired codes\""
    for code in retired(document):
        if code in seen:
            yield f"{DOCUMENT}: the code {code} is retired and may not be used again"
    if table(files) not in document:
        yield f"{DOCUMENT}: the table is not that of the sources: run python3 tests/error_codes_test.py --write"


def self_test():
    good = {"src/a/a.cpp": 'throw DataError("no-rows", fmt::format("{}: no rows", path));\nthrow DataError(e.code(), e.what());'}
    document = HEAD + table(good) + "\n## Retired codes\n\n- `old-one`\n"
    assert not list(violations(good, document)), list(violations(good, document))
    for bad in ('throw DataError(fmt::format("{}: no rows", path));', 'throw RowError::unusable("old-one", "x");'):
        assert list(violations(dict(good, **{"src/a/b.cpp": bad}), document)), bad
    assert list(violations({"src/a/a.cpp": ""}, document))


def main():
    self_test()
    files = {}
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in names:
            if name.endswith((".cpp", ".h")):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as f:
                    files[os.path.relpath(path, ROOT)] = f.read()
    path = os.path.join(ROOT, DOCUMENT)
    document = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            document = f.read()
    if "--write" in sys.argv:
        gone = sorted(set(retired(document)) | set(listed(document)) - {code for *_, code, _ in sites(files)})
        tail = "\n## Retired codes\n\n" + ("".join(f"- `{code}`\n" for code in gone) or "There are none.\n")
        with open(path, "w", encoding="utf-8") as f:
            f.write(HEAD + table(files) + tail)
        return 0
    found = list(violations(files, document))
    print("\n".join(found) or "every refusal has its code")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
