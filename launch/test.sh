#!/usr/bin/env bash
# Sets up, builds and runs the tests. Usage: launch/test.sh [ctest label...]   (default: all but stress and fuzz)
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
help_of "${BASH_SOURCE[0]}" "$@"
cd "$DMOERM_ROOT"
launch/setup.sh --with smollm2 --with tests
launch/build.sh -DDMOERM_BUILD_ONCE=ON # if nothing is built yet
select=(-LE "stress|fuzz")
[ $# -gt 0 ] && select=(-L "$(IFS='|'; echo "$*")")
export DMOERM_SMOLLM2="$DMOERM_MODELS/smollm2-135m-instruct" DMOERM_MINILM="$DMOERM_MODELS/minilm-l6"
# Most tests wait as much as they compute. More than four at once would need memory that a small machine lacks.
processors=$(nproc)
ctest --test-dir "$DMOERM_BUILD" --parallel $((processors < 4 ? processors : 4)) --output-on-failure --no-tests=error "${select[@]}"
