#!/usr/bin/env python3
"""Checks the house rules that a compiler does not: which folder may include which, where costly headers may stand, file sizes, top level.

Exits 1 and lists every violation. First plants one of each kind and expects it to be found.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = {
    "base": "", "config": "base", "pair": "base", "plan": "base config", "watch": "base config", "label": "pair config base", "data": "pair config base",
    "tensor": "base", "model": "tensor data pair config base", "comm": "base", "eval": "model tensor data pair config base",
    "train": "eval model tensor data pair config plan watch label comm base", "serve": "eval model tensor data pair config base",
    "cli": "base config pair plan watch label data tensor model comm eval train serve",
}
# header: places that may include it
KEPT = {
    r"mpi\.h": r"src/comm/([^/]*\.cpp|mpi_(calls|communicator)\.h)", r"nccl\.h": r"src/comm/[^/]*\.cpp", r"hdf5\.h": r"src/data/token_store[^/]*\.cpp|src/label/label_segment\.cpp",
    r"curl/.*": r"src/label/http_multi\.cpp", r"sqlite3\.h": r"src/label/label_journal\.cpp",
    r"httplib\.h": r"src/watch/status_page\.cpp|tests/.*",
    r"yaml-cpp/.*": r"src/config/[^/]*\.cpp", r"torch/torch\.h": r"(?!)",
}
TOP = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "src", "launch", "configs", "kernels", "tests", "cluster", "docs"}
LINES_MAX = 500
NOT_SOURCE = {".git", "build", "runs", ".cache", "__pycache__"}
MACHINE_PATH = re.compile(r"/(?:work|farm|root|home/[a-z]+)/")


def violations(files):
    """files: path -> text. Yields messages."""
    for path, text in files.items():
        top = path.split("/")[0]
        if top not in TOP and not top.startswith("."):
            yield f"{path}: the top level holds {', '.join(sorted(TOP))} and dot files only"
        if path.startswith("src/") and text.count("\n") > LINES_MAX:
            yield f"{path}: {text.count(chr(10))} lines, at most {LINES_MAX}: split it"
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line) and path != "tests/layering_test.py":
                yield f"{path}:{number}: names a path of one machine"
        if not path.startswith(("src/", "tests/")) or not path.endswith((".h", ".cpp", ".cu")):
            continue
        folder = path.split("/")[1]
        for number, line in enumerate(text.splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if not found:
                continue
            header = found.group(1)
            target = header.split("/")[0]
            if path.startswith("src/") and "/" in header and target in LIBRARIES and target != folder and target not in LIBRARIES[folder].split():
                yield f"{path}:{number}: {folder} may not include {header} (it may use: {LIBRARIES[folder] or 'nothing'})"
            for pattern, places in KEPT.items():
                if re.fullmatch(pattern, header) and not re.fullmatch(places, path):
                    yield f"{path}:{number}: {header} is not to be included here"


def names_by_git(root):
    """What git tracks, whoever owns the checkout; None without git or outside a checkout."""
    try:
        listed = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name for name in listed.stdout.split("\0") if name]


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
    planted = {
        "src/base/a.h": '#include "model/x.h"\n', "src/train/b.cpp": "#include <mpi.h>\n", "src/model/c.cpp": "#include <torch/torch.h>\n",
        "src/pair/d.cpp": "\n" * 501, "extra/e.txt": "", "docs/g.md": "see /home/someone/notes\n", "src/model/fine.cpp": '#include "data/packed_batch.h"\n',
    }
    found = list(violations(planted))
    assert len(found) == 6, found
    assert not any("fine.cpp" in v for v in found), found
    with tempfile.TemporaryDirectory() as root:  # no checkout: an archive of the sources
        for name in ("src/base/a.h", "build/generated.cpp", ".git/config", "tests/__pycache__/x.pyc"):
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            with open(os.path.join(root, name), "w", encoding="utf-8") as f:
                f.write('#include "model/x.h"\n')
        assert names_by_git(root) is None, "git lists a folder that is no checkout"
        assert names_by_walk(root) == ["src/base/a.h"], names_by_walk(root)
        assert len(list(violations(read_all(root, names_by_walk(root))))) == 1


def main():
    self_test()
    names = names_by_git(ROOT)
    found = list(violations(read_all(ROOT, names_by_walk(ROOT) if names is None else names)))
    print("\n".join(found) if found else "layering: no violation")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
