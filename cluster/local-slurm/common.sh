# shellcheck shell=bash
# Sourced by the scripts of this folder: the paths of the cluster's files, and functions for its processes.
# All files are in one folder; the system's own munge and Slurm settings are neither read nor changed.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=cluster/netns/hosts.sh
source "$here/../netns/hosts.sh"

DMOERM_LOCAL_SLURM=${DMOERM_LOCAL_SLURM:-/run/dmoerm-slurm}  # a short path on a local disk: sockets have long names
export SLURM_CONF=$DMOERM_LOCAL_SLURM/slurm.conf
# shellcheck disable=SC2034
name=slurm network=10.77.0 nodes=(n1 n2 n3 n4)

# A process id may be reused by another process; the start time shows whether it is still the recorded one.
start_time() {
  local stat
  # The start time is the 20th field after the command's name, which may contain anything.
  stat=$(<"/proc/$1/stat") && read -r -a stat <<<"${stat##*) }" && echo "${stat[19]}"
} 2>/dev/null

record() { echo "$2 $(start_time "$2")" >"$DMOERM_LOCAL_SLURM/$1.process"; }
# running NAME: prints its process id if it is running. A zombie does not count: its parent may never collect it.
running() {
  local pid started stat
  read -r pid started 2>/dev/null <"$DMOERM_LOCAL_SLURM/$1.process" || return 1
  [[ $(start_time "$pid") == "$started" ]] || return 1
  stat=$(<"/proc/$pid/stat") && stat=${stat##*) }
  [[ ${stat:0:1} != Z ]] && echo "$pid"
} 2>/dev/null
# stop NAME SIGNAL: sends the signal and waits until the process has ended
stop() {
  local pid
  pid=$(running "$1") || return 0
  kill -s "$2" "$pid" 2>/dev/null || true
  wait_until 10 "$1 to end" gone "$1" 2>/dev/null || kill -9 "$pid" 2>/dev/null || true
}
gone() { ! running "$1" >/dev/null; }

# wait_until SECONDS WHAT COMMAND...: waits until the command succeeds
wait_until() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || { echo "$(basename "$0"): waited too long for $what" >&2 && return 1; }
    sleep 0.1
  done
}

# start_node NODE: starts a host of its own. slurmd is process 1 of its process namespace, so that killing it kills everything in it.
start_node() {
  local node=$1 namespace
  namespace=$(namespace_of "$node")
  # shellcheck disable=SC2016  # for the shell inside
  setsid nsenter --net="/run/netns/$namespace" unshare --uts --mount --pid --fork --kill-child --mount-proc bash -c \
    'hostname "$1" && mount --bind "$2/hosts" /etc/hosts && mount -t tmpfs none "$2/pmix" && exec slurmd -D -N "$1" -f "$2/slurm.conf"' \
    "$node" "$node" "$DMOERM_LOCAL_SLURM" </dev/null >>"$DMOERM_LOCAL_SLURM/log/$node.console" 2>&1 &
  record "$node" $!
}

node_answers() { [[ $(sinfo --noheader --Node --partition main --nodes "$1" --format %T) =~ ^(idle|mixed|allocated|completing)$ ]]; }
