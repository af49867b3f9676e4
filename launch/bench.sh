#!/usr/bin/env bash
# Runs one benchmark of tests/bench beside its peer. Usage: launch/bench.sh NAME [options]
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
help_of "${BASH_SOURCE[0]}" "${1-}"
name="${1:-}"
script="$DMOERM_ROOT/tests/bench/${name//-/_}.py"
if [ -z "$name" ] || [ ! -f "$script" ]; then
  bad_usage "unknown benchmark \"$name\"; known: $(names_in "$DMOERM_ROOT/tests/bench")"
fi
shift
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=68719476736 MALLOC_TOP_PAD_=268435456 DMOERM_BUILD DMOERM_ROOT
export PYTHONPATH="$DMOERM_ROOT/tests/bench/support${PYTHONPATH:+:$PYTHONPATH}"
exec "${DMOERM_PEER_PYTHON:-$DMOERM_PYTHON}" "$script" "$@"
