#!/usr/bin/env python3
"""Checks the house rules that a compiler does not.

Folders of src include each other as src/cmake/folders.txt says, and every arrow of it is needed; no two files include each other in
a circle; a source file has a header of its name; costly headers stand where they belong; no folder and no file grows too large; the
table in docs/architecture.md is the one of folders.txt (`--write` brings it up to date); the top level stays as it is.
Exits 1 and lists every violation. First plants one of each kind and expects it to be found.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = "src/cmake/folders.txt"
DOCUMENT = "docs/architecture.md"
# header: places that may include it
KEPT = {
    r"mpi\.h": r"src/comm/([^/]*\.cpp|mpi_(calls|communicator)\.h)", r"nccl\.h": r"src/comm/[^/]*\.cpp|tests/comm/fake_nccl/.*",
    r"hdf5\.h": r"src/base/h5\.h", r"base/h5\.h": r"src/data/token_store_hdf5\.cpp|src/label_store/segment\.cpp|tests/data/store_chunk_test\.cpp",
    r"curl/.*": r"src/judge/(http_multi|web_address)\.cpp", r"sqlite3\.h": r"src/label_store/journal\.cpp",
    r"httplib\.h": r"src/watch/status_page\.cpp|tests/.*", r"microhttpd\.h": r"src/serve/http_server\.cpp",
    r"yaml-cpp/.*": r"src/config/[^/]*\.cpp", r"torch/torch\.h": r"(?!)",
}
TOP = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "src", "launch", "configs", "kernels", "tests", "cluster", "docs"}
LINES_MAX = 500
FOLDER_SHARE_MAX = 0.15
NOT_SOURCE = {".git", "build", "runs", ".cache", "__pycache__"}
MACHINE_PATH = re.compile(r"/(?:work|farm|root|home/[a-z]+)/")
INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^>"]+)[>"]')


def read_table(text):
    """folders.txt -> {folder: (folders it uses, job)}, lowest first."""
    table = {}
    for row in text.splitlines():
        if row and not row.startswith("#"):
            name, uses, _, job = (column.strip() for column in row.split("|"))
            table[name] = (uses.split(), job)
    return table


def includes_of(text):
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1)


def folder_violations(files, table):
    """Includes between folders, and arrows of the table that nothing needs."""
    below = set()
    for folder, (uses, _) in table.items():
        for used in uses:
            if used not in below:
                yield f"{TABLE}: {folder} uses {used}, which does not stand above it"
        below.add(folder)
    needed = set()
    for path, text in files.items():
        if not path.startswith("src/") or not path.endswith((".h", ".cpp", ".cu")):
            continue
        folder = path.split("/")[1]
        if folder not in table:
            yield f"{path}: {TABLE} has no line for the folder {folder}"
            continue
        for number, header in includes_of(text):
            target = header.split("/")[0]
            if "/" not in header or target not in table or target == folder:
                continue
            needed.add((folder, target))
            if target not in table[folder][0]:
                yield f"{path}:{number}: {folder} may not include {header} (it may use: {', '.join(table[folder][0]) or 'nothing'})"
    for folder, (uses, _) in table.items():
        for used in uses:
            if (folder, used) not in needed:
                yield f"{TABLE}: {folder} uses {used}, but includes nothing of it"


def circle_violations(files):
    """Units (a header and the source of its name) that include each other in a circle."""
    graph = collections.defaultdict(set)
    for path, text in files.items():
        if path.startswith("src/") and path.endswith((".h", ".cpp", ".cu")):
            unit = os.path.splitext(path[4:])[0]
            graph[unit] |= {os.path.splitext(header)[0] for _, header in includes_of(text) if f"src/{header}" in files} - {unit}
    state, way = {}, []

    def visit(unit):
        state[unit] = "open"
        way.append(unit)
        for target in sorted(graph.get(unit, ())):
            if state.get(target) == "open":
                yield "include each other in a circle: " + " -> ".join(way[way.index(target):] + [target])
            elif target not in state:
                yield from visit(target)
        way.pop()
        state[unit] = "done"

    for unit in sorted(graph):
        if unit not in state:
            yield from visit(unit)


def size_violations(files):
    lines = collections.Counter()
    for path, text in files.items():
        if path.startswith("src/") and path.endswith((".h", ".cpp", ".cu")):
            lines[path.split("/")[1]] += text.count("\n")
            if text.count("\n") > LINES_MAX:
                yield f"{path}: {text.count(chr(10))} lines, at most {LINES_MAX}: split it"
    total = sum(lines.values())
    for folder, count in lines.items():
        if len(lines) >= 8 and count > FOLDER_SHARE_MAX * total:
            yield f"src/{folder}: {100 * count / total:.0f} % of the lines of src, at most {100 * FOLDER_SHARE_MAX:.0f} %: split it"


def file_violations(files):
    for path, text in files.items():
        top = path.split("/")[0]
        if top not in TOP and not top.startswith("."):
            yield f"{path}: the top level holds {', '.join(sorted(TOP))} and dot files only"
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line) and path != "tests/layering_test.py":
                yield f"{path}:{number}: names a path of one machine"
        # A verb is declared in cli/verbs.h with all the others.
        if path.startswith("src/") and path.endswith(".cpp") and path.split("/")[1] != "cli" and path[:-4] + ".h" not in files:
            yield f"{path}: has no header of its name: give it one, or merge it into the file whose header declares it"
        if path.startswith(("src/", "tests/")) and path.endswith((".h", ".cpp", ".cu")):
            for number, header in includes_of(text):
                for pattern, places in KEPT.items():
                    if re.fullmatch(pattern, header) and not re.fullmatch(places, path):
                        yield f"{path}:{number}: {header} is not to be included here"


def document_table(table):
    rows = ["| folder | job | uses |", "|---|---|---|"]
    rows += [f"| `src/{name}` | {job} | {', '.join(uses) or '-'} |" for name, (uses, job) in table.items()]
    return "\n".join(rows) + "\n"


def with_table(document, table):
    """The document with the table of folders.txt between its two marks."""
    return re.sub(r"(<!-- folders -->\n).*?(<!-- end of folders -->)", lambda m: m.group(1) + document_table(table) + m.group(2), document, flags=re.S)


def violations(files):
    """files: path -> text. Yields messages."""
    table = read_table(files[TABLE])
    yield from folder_violations(files, table)
    yield from circle_violations(files)
    yield from size_violations(files)
    yield from file_violations(files)
    if with_table(files[DOCUMENT], table) != files[DOCUMENT] or "<!-- folders -->" not in files[DOCUMENT]:
        yield f"{DOCUMENT}: the table of folders is not the one of {TABLE}: run tests/layering_test.py --write"


def names_by_git(root):
    """What git tracks, whoever owns the checkout; None without git or outside a checkout."""
    try:
        listed = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name for name in listed.stdout.split("\0") if name and os.path.exists(os.path.join(root, name))]


def names_by_walk(root):
    """Every file of the tree but what builds and runs leave there."""
    names = []
    for directory, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in NOT_SOURCE]
        names += [os.path.relpath(os.path.join(directory, f), root) for f in files]
    return names


def read_all(root, names):
    files = {}
    for name in names:
        try:
            with open(os.path.join(root, name), encoding="utf-8") as f:
                files[name] = f.read()
        except (OSError, UnicodeDecodeError):
            files[name] = ""
    return files


def self_test():
    sound = {
        TABLE: "# a comment\nbase | | | errors\nnn | base | torch | models\n",
        "src/base/a.h": "", "src/nn/b.h": '#include "base/a.h"\n', "src/nn/b.cpp": '#include "nn/b.h"\n',
    }
    sound[DOCUMENT] = "x\n<!-- folders -->\n" + document_table(read_table(sound[TABLE])) + "<!-- end of folders -->\ny\n"
    assert not list(violations(sound)), list(violations(sound))
    planted = {  # one violation each
        "an arrow up": {"src/base/c.cpp": '#include "nn/b.h"\n', "src/base/c.h": ""},
        "an arrow in vain": {"src/nn/b.h": ""},
        "a table that climbs": {TABLE: "nn | base | torch | models\nbase | | | errors\n"},
        "an unknown folder": {"src/new/c.h": ""},
        "a circle": {"src/nn/c.h": '#include "nn/d.h"\n', "src/nn/d.h": '#include "nn/c.h"\n'},
        "a long file": {"src/nn/b.cpp": "\n" * 501},
        "a source without a header": {"src/nn/c.cpp": ""},
        "a costly header": {"src/nn/b.cpp": "#include <mpi.h>\n"},
        "all of torch": {"tests/nn/b_test.cpp": "#include <torch/torch.h>\n"},
        "a new top level": {"extra/e.txt": ""},
        "a path of one machine": {"docs/g.md": "see /home/someone/notes\n"},
        "an old table": {DOCUMENT: sound[DOCUMENT].replace("errors", "mistakes")},
    }
    for what, change in planted.items():
        found = list(violations({**sound, **change}))
        assert found if what == "a table that climbs" else len(found) == 1, (what, found)
    many = {f"src/f{i}/a.h": "\n" * (100 if i else 200) for i in range(9)}
    assert len(list(size_violations(many))) == 1
    with tempfile.TemporaryDirectory() as root:  # no checkout: an archive of the sources
        for name in ("src/base/a.h", "build/generated.cpp", ".git/config", "tests/__pycache__/x.pyc"):
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            with open(os.path.join(root, name), "w", encoding="utf-8") as f:
                f.write("\n")
        assert names_by_git(root) is None, "git lists a folder that is no checkout"
        assert names_by_walk(root) == ["src/base/a.h"], names_by_walk(root)


def main():
    self_test()
    names = names_by_git(ROOT)
    files = read_all(ROOT, names_by_walk(ROOT) if names is None else names)
    if sys.argv[1:] == ["--write"]:
        files[DOCUMENT] = with_table(files[DOCUMENT], read_table(files[TABLE]))
        with open(os.path.join(ROOT, DOCUMENT), "w", encoding="utf-8") as f:
            f.write(files[DOCUMENT])
    found = list(violations(files))
    print("\n".join(found) if found else "layering: no violation")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
