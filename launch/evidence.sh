#!/usr/bin/env bash
# Compares the method with its baselines on the states of a frozen backbone: computes the states, trains and tests all arms, prints
# the tables and, as the last line, the figures as JSON. What is done is kept: the same command continues.
# Usage: launch/evidence.sh --data DIR [--data2 DIR] [--config FILE] [--out DIR] [--np RANKS] [--groups N|NAME=N]... [--seeds N] [--seed N] [--prompts-min N] [--contrast ARM:ARM]... [--cluster KEY] [--quick] [--test] [--runs N [--run-config FILE] [--trained N] [--tested N]]
#   --data DIR    folder of capability.jsonl.gz
#   --data2 DIR   folder of translation, explanation and data_to_text_e2e.jsonl.gz; without it, that of --data
#   --config FILE configuration with backbone, data and categories (default: configs/evidence/categories.yaml)
#   --out DIR     folder of the experiment (default: runs/evidence)
#   --np RANKS    number of ranks (default: 2)
#   --groups N    prompts of each category, or NAME=N for one (default: 400; the states take most of the time)
#   --seeds N     draws of labelled prompts and noise (default: 10 in the main regime, 3 in the others)
#   --seed N      other folds and draws of the same prompts (default: the seed of the configuration); the states stay
#   --prompts-min N  prompts that make a category one of the average (default: 300; if none has as many, all are in it)
#   --contrast ARM:ARM  also one arm less another, as stack:stack_split, or REGIME/ARM:ARM, as 20-rater/dmoerm:own
#   --cluster KEY key of the rows that says what stays in one fold and is resampled together, such as their document (default: ten neighbouring lines)
#   --quick       the main regime alone
#   --test        at the very end: train on all of train and validation, and read the test split once
#   --runs N      instead: whole runs with adapters (configs/evidence/adapters.yaml) over N draws of labels, and their tables
#   --run-config FILE  configuration of these runs
#   --trained N, --tested N  prompts of a category that a run learns from (default: 150), and is tested on (150)
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
help_of "${BASH_SOURCE[0]}" "$@"
config="$DMOERM_ROOT/configs/evidence/categories.yaml" out="$DMOERM_ROOT/runs/evidence" ranks=2 seeds=10 quick=no test=no groups=() tables=() seed='' data='' data2='' runs='' run_config="$DMOERM_ROOT/configs/evidence/adapters.yaml" sizes=() blocks=(--block-lines 10)
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes ;;
    --test) test=yes ;;
    --data | --data2 | --config | --out | --np | --groups | --seeds | --seed | --prompts-min | --contrast | --cluster | --runs | --run-config | --trained | --tested)
      [ -n "${2-}" ] || bad_usage "$1: a value is missing"
      case "$1" in
        --data) data=$2 ;;
        --data2) data2=$2 ;;
        --config) config=$2 ;;
        --out) out=$2 ;;
        --np) ranks=$2 ;;
        --groups) groups+=(--groups "$2") ;;
        --seeds) seeds=$2 ;;
        --seed) seed=$2 ;;
        --prompts-min | --contrast) tables+=("$1" "$2") ;;
        --cluster) blocks=(--cluster "$2") ;;
        --runs) runs=$2 ;;
        --run-config) run_config=$2 ;;
        --trained | --tested) sizes+=("$1" "$2") ;;
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
case "$runs" in *[!0-9]* | 0*) bad_usage "--runs $runs: expected a whole number above 0" ;; esac
case "$seeds" in '' | *[!0-9]* | 0*) bad_usage "--seeds $seeds: expected a whole number above 0" ;; esac
case "$seed" in *[!0-9]*) bad_usage "--seed $seed: expected a whole number" ;; esac
[ ${#groups[@]} -gt 0 ] || groups=(--groups 400)
DMOERM_DATA=$(realpath "$data") DMOERM_DATA2=$(realpath "$data2") # a configuration reads them from its own folder
export DMOERM_DATA DMOERM_DATA2
dmoerm=("$DMOERM_ROOT/launch/dmoerm")
common=(--config "$config" --out "$out")
cells() { "${dmoerm[@]}" --np "$ranks" evidence cells "${common[@]}" "${groups[@]}" "${blocks[@]}" ${seed:+--seed "$seed"} "$@"; }

if [ -n "$runs" ]; then
  say "data of $runs draws, in $out/draws"
  "${dmoerm[@]}" evidence data "${common[@]}" "${blocks[@]}" --draws "$runs" "${sizes[@]}" ${seed:+--set "seed=$seed"}
  finished=()
  mapfile -t draws < <("$DMOERM_PYTHON" -c 'import json, sys; print(*json.load(open(sys.argv[1]))["seeds"], sep="\n")' "$out/draws/draws.json")
  for draw in "${draws[@]}"; do
    say "the run over draw $draw"
    DMOERM_DRAW=$(realpath "$out/draws/$draw") "${dmoerm[@]}" --np "$ranks" run --config "$run_config" --set "runs_dir=$out/runs" --set "name=$draw" --set "seed=$draw"
    finished+=("$out/runs/$draw")
  done
  exec "${dmoerm[@]}" evidence tables "${common[@]}" "${tables[@]}" --runs "${finished[@]}"
fi
say "states of the backbone, in $out"
"${dmoerm[@]}" --np "$ranks" evidence states "${common[@]}" "${groups[@]}"
if [ "$test" = yes ]; then
  "${dmoerm[@]}" --np "$ranks" evidence states "${common[@]}" "${groups[@]}" --test
  cells --test --seeds "$seeds" --regimes 80-rater
  exec "${dmoerm[@]}" evidence tables "${common[@]}" "${tables[@]}" --test
fi
say "the main regime"
cells --seeds "$seeds" --regimes 80-rater --inner
if [ "$quick" = no ]; then
  say "other amounts of labels, and other noise"
  few=$((seeds < 3 ? seeds : 3))
  regimes=80-rater-points30,80-rater-scored40,80-rater-scored160
  for noise in rater none flip40; do
    for prompts in 20 40 80 160 320 all; do
      [ "$prompts-$noise" = 80-rater ] || regimes+=",$prompts-$noise"
    done
  done
  cells --seeds "$few" --regimes "$regimes"
fi
exec "${dmoerm[@]}" evidence tables "${common[@]}" "${tables[@]}"
