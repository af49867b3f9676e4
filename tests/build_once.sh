#!/usr/bin/env bash
# The build that DMOERM_BUILD_ONCE shortens still works: folders that are compiled in one piece do not give one name to two things,
# and the files of all folders can read the headers that were precompiled for them.
# Usage: build_once.sh SOURCE BUILD, the build's folder for its settings.
set -euo pipefail
source=$1 build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
setting() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }
cmake -S "$source" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DDMOERM_BUILD_ONCE=ON -DDMOERM_TESTS=OFF \
  -DDMOERM_PYTHON="$(setting DMOERM_PYTHON)" >"$folder/configure.log" || { cat "$folder/configure.log"; exit 1; }
mapfile -t pieces < <(sed -n 's/^foreach(folder \(base .*\))$/\1/p' "$source/src/cmake/BuildOnce.cmake" | tr ' ' '\n')
[ ${#pieces[@]} -gt 5 ] || { echo "BuildOnce.cmake: the list of folders that are compiled in one piece was not found"; exit 1; }
ninja -C "$folder" "${pieces[@]/#/dmoerm_}" >"$folder/build.log" || { grep -A5 error: "$folder/build.log"; exit 1; }
if grep -A5 "src/.*warning:" "$folder/build.log"; then exit 1; fi
python3 "$source/tests/precompiled_headers.py" "$folder"
# tests/CMakeLists.txt links the communicator's file into a test once more.
members=$(ar t "$folder/libdmoerm_comm.a")
[[ $members == *nccl_communicator* ]] || {
  echo "src/comm/nccl_communicator.cpp is compiled in one piece with its folder: the test nccl_on_sockets would define it twice"
  exit 1
}
echo "compiled in one piece: ${pieces[*]}"
