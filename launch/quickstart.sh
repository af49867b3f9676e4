#!/usr/bin/env bash
# Sets up, builds, and runs the main job on embedded data: three categories, twelve experts, two ranks. Run it again to continue, or to see the result.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
help_of "${BASH_SOURCE[0]}" "$@"
cd "$DMOERM_ROOT"
launch/setup.sh
launch/build.sh -DDMOERM_BUILD_ONCE=ON dmoerm
[ -f runs/quickstart-data/synth.jsonl ] || { mkdir -p runs/quickstart-data; launch/dmoerm synth --groups 220 --responses 3 --out runs/quickstart-data/synth.jsonl; }
launch/dmoerm --np 2 run --config configs/quickstart.yaml
