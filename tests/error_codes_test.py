#!/usr/bin/env python3
"""Every refusal of the program has a code, and docs/errors.md explains each code in one row: what it means and what to do.

`--write` gives new codes rows with empty cells, which a person fills in. A code stays when the words of its message change. One that is
no longer thrown moves to the document's list of retired codes, so that nobody gives it another meaning. The words of the JSON library, which speak of
parser states, are no message. Exits 1 and lists every violation.
First plants one of each kind and expects it to be found.
"""
import collections
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = "docs/errors.md"
HEADINGS = {"cli": "Configuration and command line", "config": "Configuration and command line",
            "data": "Data", "preference": "Data", "synth": "Data",
            "moe": "Models and bundles", "nn": "Models and bundles", "hf": "Models and bundles",
            "eval": "Evaluation",
            "tokenizer": "Tokenizer and templates",
            "judge": "Judges and labels", "label": "Judges and labels", "label_store": "Judges and labels",
            "plan": "Runs and tasks", "run": "Runs and tasks", "train": "Runs and tasks", "watch": "Runs and tasks", "evidence": "Runs and tasks", "report": "Runs and tasks",
            "wire": "Serving", "serve": "Serving",
            "comm": "Cluster and MPI",
            "base": "Files and system"}
RETIRED = "## Retired codes"
THROWN = re.compile(r"\b(?:throw|return)\s+(?:\w+::)*(?:ConfigError|DataError|ShapeError|IoError|CommError|NumericError|Stopped|Paused|RowError|RequestError|Error|Failure)"
                    r"(?:::unusable)?\((?P<rest>[^;]*?);", re.S)
PROBLEM = re.compile(r"\b(?:problems_?(?:\.|->)add|on_dropped_)\((?!std::move)(?P<rest>[^;]*?);", re.S)
FAIL = re.compile(r"\b(?:fail|problem)\((?P<rest>[^;]*?);", re.S)
REFUSE = re.compile(r"(?<!void )(?<!::)\b(?:refuse|complain)\((?!ErrorCode)(?P<rest>[^;]*?);", re.S)
NAMED = re.compile(r"\b(?:ErrorCode|with_code)(?P<rest>\([^;]*?\"[a-z0-9-]+\"\))", re.S)
CODE = re.compile(r'(?:^|[,?:(])\s*"(?P<code>[a-z0-9]+(?:-[a-z0-9]+)+)"\s*[,:)]')
PASSED_ON = re.compile(r"\bcode\b|ErrorCode\(\)")
JSON_WORDS = re.compile(r"catch \(const (?:nlohmann::)?json::\w+& e\) \{[^}]*\be\.what\(\)")
ROW = re.compile(r"^\| `(?P<code>[a-z0-9-]+)` \|(?P<meaning>[^|]*)\|(?P<advice>[^|]*)\|$", re.M)


def refusals(files):
    """Yield (path, line, code or None) of every refusal in {path: text}."""
    for path, text in sorted(files.items()):
        for pattern, within in ((THROWN, ""), (PROBLEM, ""), (NAMED, ""), (FAIL, "src/config/"), (FAIL, "src/base/files.cpp"), (REFUSE, "src/wire/")):
            for found in pattern.finditer(text) if path.startswith(within) else []:
                codes = [c["code"] for c in CODE.finditer(found["rest"])]
                if codes or not PASSED_ON.search(found["rest"]):
                    yield from ((path, text.count("\n", 0, found.start()) + 1, code) for code in codes or [None])


def retired(document):
    return re.findall(r"^- `([a-z0-9-]+)`", document.partition(RETIRED)[2], re.M)


def violations(files, document):
    seen = set()
    for path, line, code in refusals(files):
        if code is None:
            yield f"{path}:{line}: this refusal has no code: write one before the message"
        else:
            seen.add(code)
    for path, text in sorted(files.items()):
        for found in JSON_WORDS.finditer(text):
            yield f"{path}:{text.count(chr(10), 0, found.start()) + 1}: the words of the JSON library reach the user: use json_mismatch() or json_complaint()"
    rows = collections.Counter(row["code"] for row in ROW.finditer(document))
    for code in sorted(seen - set(rows)):
        yield f"{DOCUMENT}: no row explains {code}: run python3 tests/error_codes_test.py --write"
    for code in sorted(set(rows) - seen):
        yield f"{DOCUMENT}: no refusal has the code {code} any more: give it back, or retire it with --write"
    for code in sorted(code for code, times in rows.items() if times > 1):
        yield f"{DOCUMENT}: {code} has {rows[code]} rows: keep one"
    for row in ROW.finditer(document):
        for cell in ("meaning", "advice"):
            if not row[cell].strip():
                yield f"{DOCUMENT}: the row of {row['code']} says nothing about its {cell}: write one plain sentence"
    for line in re.findall(r"^\| `.*$", document, re.M):
        if not ROW.match(line):
            yield f"{DOCUMENT}: this row has not three cells: {line}"
    if "\n<<<<<<< " in document or "\n>>>>>>> " in document:
        yield f"{DOCUMENT}: a merge conflict of git is left: keep the rows of both sides"
    for code in retired(document):
        if code in seen:
            yield f"{DOCUMENT}: the code {code} is retired and may not be used again"


def updated(files, document):
    """The document with empty rows for new codes, without rows of codes that are gone, and with sorted rows."""
    folders = {code: path.split("/")[1] for path, _, code in refusals(files) if code}
    rows = {row["code"] for row in ROW.finditer(document)}
    body, _, _ = document.partition(RETIRED)
    parts = []
    for part in re.split(r"^(?=## )", body, flags=re.M):
        heading = part.partition("\n")[0]
        lines = [row[0] for row in ROW.finditer(part) if row["code"] in folders]
        lines += [f"| `{code}` | | |" for code in set(folders) - rows if heading == f"## {HEADINGS[folders[code]]}"]
        parts.append(ROW.sub("", part).rstrip() + "\n" + "".join(line + "\n" for line in sorted(lines)))
    gone = sorted(set(retired(document)) | rows - set(folders))
    return "\n".join(parts) + f"\n{RETIRED}\n\n" + ("".join(f"- `{code}`\n" for code in gone) or "There are none.\n")


def self_test():
    good = {"src/data/a.cpp": 'throw DataError("no-rows", fmt::format("{}: no rows", path));\nthrow DataError(e.code(), e.what());'}
    document = "# Errors\n\n## Data\n\n| code | what it means | what to do |\n|---|---|---|\n| `no-rows` | A. | B. |\n\n" + RETIRED + "\n\n- `old-one`\n"
    assert not list(violations(good, document)), list(violations(good, document))
    assert updated(good, document) == document, updated(good, document)
    for bad in ('throw DataError(fmt::format("{}: no rows", path));', 'throw RowError::unusable("old-one", "x");', 'return ErrorCode("new-one");',
                'return with_code(fmt::format("{}", what), "new-one");',
                "} catch (const json::exception& e) {\n  throw refuse(e.what());\n}"):
        assert list(violations(dict(good, **{"src/data/b.cpp": bad}), document)), bad
    for wrong in ("| `no-rows` | A. | |", "| `no-rows` | A. | B. | C. |", "| `no-rows` | A. | B. |\n| `no-rows` | A. | B. |"):
        assert list(violations(good, document.replace("| `no-rows` | A. | B. |", wrong))), wrong
    assert list(violations({}, document))
    new = updated({"src/data/b.cpp": 'throw DataError("new-one", "x");'}, document)
    assert "## Data\n\n| code | what it means | what to do |\n|---|---|---|\n| `new-one` | | |\n" in new and "- `no-rows`\n- `old-one`\n" in new, new


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
    with open(path, encoding="utf-8") as f:
        document = f.read()
    if "--write" in sys.argv:
        document = updated(files, document)
        with open(path, "w", encoding="utf-8") as f:
            f.write(document)
    found = list(violations(files, document))
    print("\n".join(found) or "every refusal has its code, and every code its explanation")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
