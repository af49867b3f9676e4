#!/usr/bin/env bash
# Compares the method with its baselines on the states of a frozen backbone: computes the states, trains and tests all arms, prints
# the tables and, as the last line, the figures as JSON. What is done is kept: the same command continues.
# Usage: launch/evidence.sh --data DIR [--data2 DIR] [--config FILE] [--out DIR] [--np RANKS] [--groups N|NAME=N]... [--seeds N] [--prompts-min N] [--quick] [--test]
#   --data DIR    folder of capability.jsonl.gz
#   --data2 DIR   folder of translation, explanation and data_to_text_e2e.jsonl.gz; without it, that of --data
#   --config FILE configuration with backbone, data and categories (default: configs/evidence/categories.yaml)
#   --out DIR     folder of the experiment (default: runs/evidence)
#   --np RANKS    number of ranks (default: 2)
#   --groups N    prompts of each category, or NAME=N for one (default: 400; the states take most of the time)
#   --seeds N     draws of labelled prompts and noise (default: 10 in the main regime, 3 in the others)
#   --prompts-min N  prompts that make a category one of the average (default: 300; if none has as many, all are in it)
#   --quick       the main regime alone
#   --test        at the very end: train on all of train and validation, and read the test split once
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
config="$DMOERM_ROOT/configs/evidence/categories.yaml" out="$DMOERM_ROOT/runs/evidence" ranks=2 seeds=10 quick=no test=no groups=() tables=() data='' data2=''
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes ;;
    --test) test=yes ;;
    --data | --data2 | --config | --out | --np | --groups | --seeds | --prompts-min)
      [ -n "${2-}" ] || bad_usage "$1: a value is missing"
      case "$1" in
        --data) data=$2 ;;
        --data2) data2=$2 ;;
        --config) config=$2 ;;
        --out) out=$2 ;;
        --np) ranks=$2 ;;
        --groups) groups+=(--groups "$2") ;;
        --seeds) seeds=$2 ;;
        --prompts-min) tables=(--prompts-min "$2") ;;
      esac
      shift
      ;;
    *) bad_usage "$1: unknown; the usage stands at the top of launch/evidence.sh" ;;
  esac
  shift
done
[ -n "$data" ] || bad_usage "--data DIR is missing: the folder of the preference data"
data2=${data2:-$data}
for folder in "$data" "$data2"; do [ -d "$folder" ] || bad_usage "$folder: there is no such folder of data"; done
case "$seeds" in '' | *[!0-9]* | 0*) bad_usage "--seeds $seeds: expected a whole number above 0" ;; esac
[ ${#groups[@]} -gt 0 ] || groups=(--groups 400)
DMOERM_DATA=$(realpath "$data") DMOERM_DATA2=$(realpath "$data2") # a configuration reads them from its own folder
export DMOERM_DATA DMOERM_DATA2
dmoerm=("$DMOERM_ROOT/launch/dmoerm")
common=(--config "$config" --out "$out")
cells() { "${dmoerm[@]}" --np "$ranks" evidence cells "${common[@]}" "${groups[@]}" --block-lines 10 "$@"; }

say "states of the backbone, in $out"
"${dmoerm[@]}" --np "$ranks" evidence states "${common[@]}" "${groups[@]}"
if [ "$test" = yes ]; then
  "${dmoerm[@]}" --np "$ranks" evidence states "${common[@]}" "${groups[@]}" --test
  cells --test --seeds "$seeds" --regimes 80-rater
  exec "${dmoerm[@]}" evidence tables "${common[@]}" "${tables[@]}" --test
fi
say "the main regime"
cells --seeds "$seeds" --regimes 80-rater
if [ "$quick" = no ]; then
  say "other amounts of labels, and other noise"
  few=$((seeds < 3 ? seeds : 3))
  regimes=80-rater-points30
  for noise in rater none flip40; do
    for prompts in 20 40 80 160 320 all; do
      [ "$prompts-$noise" = 80-rater ] || regimes+=",$prompts-$noise"
    done
  done
  cells --seeds "$few" --regimes "$regimes"
fi
exec "${dmoerm[@]}" evidence tables "${common[@]}" "${tables[@]}"
