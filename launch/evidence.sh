#!/usr/bin/env bash
# Compares the method with its baselines on the states of a frozen backbone: computes the states, trains and tests all arms, prints
# the tables and, as the last line, the figures as JSON. What is done is kept: the same command continues.
# Usage: launch/evidence.sh --data FILE|DIR [--data FILE|DIR]... [--data2 DIR] [--config FILE] [--out DIR] [--np RANKS] [--groups N|NAME=N]... [--seeds N] [--seed N] [--prompts-min N] [--contrast ARM:ARM]... [--cluster KEY] [--quick] [--test] [--runs N [--run-config FILE] [--trained N] [--tested N]]
#   --data FILE   preference data of your own, in any format that dmoerm ingest --formats lists, or a folder of such .jsonl, .jsonl.gz
#                 and .jsonl.zst files. The configuration is made of the data (dmoerm inspect data) and kept as config.yaml in the
#                 folder of the experiment: edit it as you like, it is never replaced
#   --data DIR    folder of capability.jsonl.gz: the comparison of docs/results/evidence.md
#   --data2 DIR   folder of translation, explanation and data_to_text_e2e.jsonl.gz; without it, that of --data
#   --config FILE configuration with backbone, data and categories (default: configs/evidence/categories.yaml, or that of your own data)
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
page_config="$DMOERM_ROOT/configs/evidence/categories.yaml" config='' out="$DMOERM_ROOT/runs/evidence" ranks=2 seeds=10 quick=no test=no groups=() tables=() contrasts=() seed='' data=() data2='' runs='' run_config='' sizes=() blocks=(--block-lines 10)
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes ;;
    --test) test=yes ;;
    --data | --data2 | --config | --out | --np | --groups | --seeds | --seed | --prompts-min | --contrast | --cluster | --runs | --run-config | --trained | --tested)
      [ -n "${2-}" ] || bad_usage "$1: a value is missing"
      case "$1" in
        --data) data+=("$2") ;;
        --data2) data2=$2 ;;
        --config) config=$2 ;;
        --out) out=$2 ;;
        --np) ranks=$2 ;;
        --groups)
          [[ $2 =~ ^([^=]+=)?[0-9]+$ ]] || bad_usage "--groups $2: expected a whole number, or NAME=NUMBER"
          groups+=(--groups "$2")
          ;;
        --seeds) seeds=$2 ;;
        --seed) seed=$2 ;;
        --prompts-min)
          [[ $2 =~ ^[1-9][0-9]*$ ]] || bad_usage "--prompts-min $2: expected a whole number above 0"
          tables+=("$1" "$2")
          ;;
        --contrast)
          [[ $2 =~ ^([^/:]+/)?[^/:]+:[^/:]+$ ]] || bad_usage "--contrast $2: expected two arms, as stack:own, or a regime and two arms, as 20-rater/stack:own"
          tables+=("$1" "$2") contrasts+=("$1" "$2")
          ;;
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
[ ${#data[@]} -gt 0 ] || [ -n "$config" ] || bad_usage "--data is missing: a folder or files of preference data"
for name in "${data[@]}" ${data2:+"$data2"}; do [ -e "$name" ] || bad_usage "$name: there is no such folder or file of data"; done
case "$runs" in *[!0-9]* | 0*) bad_usage "--runs $runs: expected a whole number above 0" ;; esac
case "$seeds" in '' | *[!0-9]* | 0*) bad_usage "--seeds $seeds: expected a whole number above 0" ;; esac
case "$ranks" in *[!0-9]* | 0*) bad_usage "--np $ranks: expected a whole number above 0" ;; esac
case "$seed" in *[!0-9]*) bad_usage "--seed $seed: expected a whole number" ;; esac
[ ${#groups[@]} -gt 0 ] || groups=(--groups 400)
dmoerm=("$DMOERM_ROOT/launch/dmoerm")

# of_page: whether the data are those of docs/results/evidence.md.
of_page() {
  local file
  [ -z "$data2" ] || return 0
  [ ${#data[@]} -eq 1 ] && [ -d "${data[0]}" ] || return 1
  for file in "${data[0]}"/{capability,translation,explanation,data_to_text_e2e}.jsonl.gz; do [ ! -e "$file" ] || return 0; done
  return 1
}
# data_files NAME...: these files, and the data files of these folders, each with its whole path.
data_files() {
  local name
  for name in "$@"; do
    if [ -d "$name" ]; then
      find -L "$name" -maxdepth 1 -type f \( -name '*.jsonl' -o -name '*.jsonl.gz' -o -name '*.jsonl.zst' \) -print0 | LC_ALL=C sort -z
    else
      printf '%s\0' "$name"
    fi
  done | xargs -0 -r realpath --
}
# use_folders: name the folders of the data to the configuration, which would read them from its own.
use_folders() {
  local folder=${data[-1]} name
  for name in "$folder" "${data2:-$folder}"; do [ -d "$name" ] || bad_usage "$name: there is no such folder of data"; done
  DMOERM_DATA=$(realpath "$folder") DMOERM_DATA2=$(realpath "${data2:-$folder}")
  export DMOERM_DATA DMOERM_DATA2
}
# use_own_data: the configuration of these files, which an earlier call may have made.
use_own_data() {
  local files file
  mapfile -t files < <(data_files "${data[@]}")
  [ ${#files[@]} -gt 0 ] || bad_usage "${data[*]}: no .jsonl, .jsonl.gz or .jsonl.zst file lies there: name your files with --data FILE, or a configuration with --config FILE"
  [ -z "$runs" ] || [ -n "$run_config" ] || bad_usage "--runs needs --run-config FILE for data of your own: a copy of configs/evidence/adapters.yaml with the categories of $out/config.yaml, without first_rater and gaps of overall"
  config=$out/config.yaml
  if [ ! -e "$config" ]; then
    mkdir -p "$out"
    say "what the data hold"
    "${dmoerm[@]}" inspect data "${files[@]}" --out "$config" --evidence
    return
  fi
  for file in "${files[@]}"; do
    grep -qF -- "$file" "$config" || bad_usage "--data $file: $config, which an earlier call made, does not name this file: use another --out, remove $config, or continue with --config $config alone"
  done
  say "the configuration is $config as it stands"
}
if [ -n "$config" ]; then
  [ ${#data[@]} -eq 0 ] || use_folders
elif ! of_page; then
  use_own_data
else
  config=$page_config
  use_folders
  for file in "$DMOERM_DATA/capability.jsonl.gz" "$DMOERM_DATA2"/{translation,explanation,data_to_text_e2e}.jsonl.gz; do
    [ -e "$file" ] || bad_usage "$file is missing, which configs/evidence/categories.yaml reads: name data of your own by file with --data FILE, or a configuration with --config FILE"
  done
fi
run_config=${run_config:-$DMOERM_ROOT/configs/evidence/adapters.yaml}
common=(--config "$config" --out "$out")
main=80-rater others=''
if [ "$quick$test$runs" = nono ]; then
  others=80-rater-points30,80-rater-scored40,80-rater-scored160
  for noise in rater none flip40; do
    for prompts in 20 40 80 160 320 all; do
      [ "$prompts-$noise" = "$main" ] || others+=",$prompts-$noise"
    done
  done
fi
split=()
[ "$test" = no ] || split=(--test)
# Before anything is computed, which takes hours.
[ ${#contrasts[@]} -eq 0 ] || "${dmoerm[@]}" evidence tables "${common[@]}" "${split[@]}" "${contrasts[@]}" --planned "$main${others:+,$others}"
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
"${dmoerm[@]}" --np "$ranks" evidence states "${common[@]}" "${groups[@]}" "${blocks[@]}"
if [ "$test" = yes ]; then
  "${dmoerm[@]}" --np "$ranks" evidence states "${common[@]}" "${groups[@]}" "${blocks[@]}" --test
  cells --test --seeds "$seeds" --regimes "$main"
  exec "${dmoerm[@]}" evidence tables "${common[@]}" "${tables[@]}" --test
fi
say "the main regime"
cells --seeds "$seeds" --regimes "$main" --inner
if [ -n "$others" ]; then
  say "other amounts of labels, and other noise"
  cells --seeds $((seeds < 3 ? seeds : 3)) --regimes "$others"
fi
exec "${dmoerm[@]}" evidence tables "${common[@]}" "${tables[@]}"
