# shellcheck shell=bash
# Sourced by the scripts of this folder. Sets their paths and libtorch's allocator, which the caller's environment may override.
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
DMOERM_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export DMOERM_HOME="${DMOERM_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/dmoerm}"
export DMOERM_MODELS="${DMOERM_MODELS:-$DMOERM_HOME/models}"
export DMOERM_PYTHON="${DMOERM_PYTHON:-$DMOERM_HOME/venv/bin/python}"
if [ -f "$DMOERM_ROOT/CMakeLists.txt" ]; then
  export DMOERM_BUILD="${DMOERM_BUILD:-$DMOERM_ROOT/build/release}"
else # installed: this is PREFIX/share/dmoerm
  export DMOERM_BUILD="${DMOERM_BUILD:-${DMOERM_ROOT%/share/dmoerm}/bin}"
fi

# Every pass has another number of tokens. Segments that can grow keep libtorch's memory on a GPU from falling into pieces. What the
# program has, its benchmarks and tests have too, and the peers in them.
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"

# shellcheck disable=SC2034  # for the scripts that source this
DMOERM_VENV="$DMOERM_HOME/venv"  # what setup.sh makes; DMOERM_PYTHON may be another
# shellcheck disable=SC2034
DMOERM_CLIENTS="$DMOERM_HOME/clients"  # the same for clients of the reward server

die() { echo "$(basename "$0"): $*" >&2; exit 1; }
say() { echo "== $*" >&2; }
# Exit code 2 for bad usage, like the program's.
bad_usage() { echo "$(basename "$0"): $*" >&2; exit 2; }
# What the head of a script says of it, and how it is used.
head_of() { sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//p}' "$1"; }
# help_of SCRIPT ARGUMENTS...: prints its head and ends, if one of the arguments is -h or --help. Before anything else is looked at.
help_of() {
  local argument
  for argument in "${@:2}"; do
    case $argument in -h | --help) head_of "$1" && exit 0 ;; esac
  done
}
# The names of FOLDER/*.py as bench.sh and torture.sh take them.
names_in() { find "$1" -maxdepth 1 -name '*.py' -printf '%f\n' | sed 's/\.py$//; s/_/-/g' | sort | tr '\n' ' '; }
