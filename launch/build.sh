#!/usr/bin/env bash
# Builds into build/release (or the folder in DMOERM_BUILD). Usage: launch/build.sh [-DOPTION=VALUE...] [ninja targets...]
# Options are those of CMakeLists.txt; a folder that is configured already keeps its own.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
help_of "${BASH_SOURCE[0]}" "$@"
options=()
while [[ ${1-} == -D* ]]; do
  options+=("$1")
  shift
done
if [ ! -f "$DMOERM_BUILD/build.ninja" ]; then
  cuda=OFF # where there is a GPU and the wheel has its libraries
  if [ -e /dev/nvidiactl ] && "$DMOERM_PYTHON" -c 'import importlib.util, pathlib, sys
sys.exit(not (pathlib.Path(importlib.util.find_spec("torch").origin).parent / "lib/libtorch_cuda.so").exists())' 2>/dev/null; then cuda=ON; fi
  cmake -S "$DMOERM_ROOT" -B "$DMOERM_BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDMOERM_PYTHON="$DMOERM_PYTHON" -DDMOERM_CUDA="$cuda" "${options[@]}" >&2
fi
# Compiling a file that includes ATen takes up to 1.7 GB.
memory_jobs=$(($(awk '/MemAvailable/ {print $2}' /proc/meminfo) / 1700000))
jobs=$(nproc)
[ "$memory_jobs" -lt "$jobs" ] && jobs=$((memory_jobs > 0 ? memory_jobs : 1))
ninja -C "$DMOERM_BUILD" -j "$jobs" "$@" >&2
