"""Each folder's files can read the headers that DMOERM_BUILD_ONCE precompiled for them. Usage: precompiled_headers.py BUILD

g++ compares its options with those of the precompiled headers before it reads a file, so an empty one will do.
"""
import json
import os
import re
import shlex
import subprocess
import sys

build = sys.argv[1]
with open(os.path.join(build, "compile_commands.json")) as file:
    entries = json.load(file)
commands = {}  # of one file of each target
for entry in entries:
    target = re.search(r" -o CMakeFiles/(\w+)\.dir/", entry["command"])
    if target and "cmake_pch" not in entry["file"] and "cmake_pch" in entry["command"]:
        commands[target[1]] = shlex.split(entry["command"]), entry["file"]
if len(commands) < 20:
    sys.exit(f"{build}/compile_commands.json: {len(commands)} targets read precompiled headers, expected those of all folders")

empty = os.path.join(build, "empty.cpp")
open(empty, "w").close()
headers = [f"CMakeFiles/dmoerm_{folder}.dir/cmake_pch.hxx.gch" for folder in ("base", "nn")]
subprocess.run(["ninja", "-C", build, *headers], check=True, stdout=subprocess.DEVNULL)
failed = False
for target, (command, source) in sorted(commands.items()):
    words = [empty if word == source else word for word in command]
    words[words.index("-o") + 1] = os.devnull
    ended = subprocess.run([*words, "-fsyntax-only"], cwd=build, capture_output=True, text=True)
    if ended.returncode != 0:
        failed = True
        print(f"{target}: {ended.stderr.strip()}")
if failed:
    sys.exit("src/cmake/BuildOnce.cmake gives these targets headers that were precompiled with other options")
print(f"{len(commands)} targets can read their precompiled headers")
