#!/usr/bin/env bash
# Runs one torture test of tests/torture. Usage: launch/torture.sh NAME [--runs N --seed S]
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
help_of "${BASH_SOURCE[0]}" "${1-}"
name="${1:-}"
script="$DMOERM_ROOT/tests/torture/${name//-/_}.py"
if [ -z "$name" ] || [ ! -f "$script" ]; then
  bad_usage "unknown torture test \"$name\"; known: $(names_in "$DMOERM_ROOT/tests/torture")"
fi
shift
export DMOERM_BUILD DMOERM_ROOT
exec python3 "$script" "$@"
