#!/usr/bin/env bash
# Reads bundles of all families with transformers and peft. Makes a small run, reads its store with h5py and its bundle with transformers and peft, and compares states in bfloat16 with transformers. Needs launch/setup.sh --with smollm2 --with tests.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../launch/env.sh"
"$DMOERM_PYTHON" "$DMOERM_ROOT/tests/moe/bundle_families.py" "$DMOERM_ROOT/launch/dmoerm"
if [ ! -d "$DMOERM_MODELS/smollm2-135m-instruct" ]; then
  echo "skipped: no $DMOERM_MODELS/smollm2-135m-instruct (launch/setup.sh --with smollm2)"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export DMOERM_DATA="$scratch"
"$DMOERM_PYTHON" "$DMOERM_ROOT/tests/nn/bfloat16_transformers.py" "$DMOERM_MODELS/smollm2-135m-instruct" "$DMOERM_ROOT/launch/dmoerm"
"$DMOERM_ROOT/launch/dmoerm" synth --out "$scratch/synth.jsonl" --groups 40 --categories 2 >/dev/null
"$DMOERM_ROOT/launch/dmoerm" --np 2 run --config "$DMOERM_ROOT/configs/small/bundle.yaml" --set "runs_dir=$scratch" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
"$DMOERM_PYTHON" "$DMOERM_ROOT/tests/data/read_store.py" "$scratch/bundle/ingest/store.h5" "$scratch/bundle/ingest/store.h5.report.json"
"$DMOERM_PYTHON" "$DMOERM_ROOT/tests/moe/bundle_transformers.py" "$scratch/bundle/bundle" "$DMOERM_ROOT/launch/dmoerm"
