#!/usr/bin/env bash
# What `cmake --install` puts elsewhere runs from any directory, with the files that it brought along and none of the source tree.
# Usage: install_test.sh BUILD_FOLDER
set -euo pipefail
build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset DMOERM_ROOT DMOERM_JUDGE_DIR DMOERM_BUILD SLURM_JOB_ID # as for somebody who has only the installed program
failures=0

fail() {
  cat "$scratch/out"
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect NAME EXIT_CODE TEXT COMMAND...: the command, run in an empty folder, ends with that code and says the text
expect() {
  local name=$1 code=$2 text=$3 got=0
  shift 3
  env -C "$scratch/elsewhere" "$@" >"$scratch/out" 2>&1 </dev/null || got=$?
  [[ $got == "$code" ]] || fail "$name: exit code $got, not $code"
  grep -qF -- "$text" "$scratch/out" || fail "$name: does not say '$text'"
}

mkdir "$scratch/elsewhere"
expect "the build can be installed" 0 "bin/dmoerm" cmake --install "$build" --prefix "$scratch/first"
mv "$scratch/first" "$scratch/prefix" # a prefix may move
program=$scratch/prefix/bin/dmoerm share=$scratch/prefix/share/dmoerm

version=$("$build/dmoerm" --version)
[[ $version =~ ^dmoerm\ [0-9]+\.[0-9]+\.[0-9]+\ \((unknown|[0-9a-f]{12}(-dirty)?)\)$ ]] || fail "the version is '$version'"
expect "it is the same program" 0 "$version" "$program" --version
ldd "$program" >"$scratch/out"
! grep -q "not found" "$scratch/out" || fail "it has lost its libraries"

export DMOERM_MODELS=$scratch/models DMOERM_DATA=$scratch/data
mkdir -p "$DMOERM_MODELS/minilm-l6" "$DMOERM_DATA"
touch "$DMOERM_MODELS/minilm-l6/config.json"
expect "it makes data" 0 "" "$program" synth --groups 20 --out "$DMOERM_DATA/synth.jsonl"
preset=(--config "$share/configs/labels/own_server.yaml")
expect "it reads an installed preset and the judge templates" 0 "requests" "$program" label "${preset[@]}" --dry-run
expect "it writes a job script" 0 "written: $scratch/elsewhere/job.sbatch" "$program" slurm "${preset[@]}" --out "$scratch/elsewhere/job.sbatch"
grep -qx "root=$share" "$scratch/elsewhere/job.sbatch" || fail "the job script does not name $share"
bash -n "$scratch/elsewhere/job.sbatch" || fail "the job script is not valid"
expect "the launcher that the job script calls starts the installed program" 0 "$version" "$share/launch/dmoerm" --version

expect "the manual page came along" 0 ".TH DMOERM 1" cat "$scratch/prefix/share/man/man1/dmoerm.1"
expect "bash finds the completion" 0 "complete -F _dmoerm dmoerm" cat "$scratch/prefix/share/bash-completion/completions/dmoerm"

mv "$share/configs/judge" "$share/configs/moved"
expect "it does not fall back to the source tree" 2 "$share/configs/judge" "$program" label "${preset[@]}" --dry-run
expect "another folder of judge templates can be named" 0 "requests" env DMOERM_JUDGE_DIR="$share/configs/moved" "$program" label "${preset[@]}" --dry-run

if ((failures > 0)); then exit 1; fi
echo "installed: runs from anywhere"
