# shellcheck shell=bash
# Sourced. Makes hosts on one machine: each is a network namespace with a host name and a link to the bridge of their network.
# All names have the prefix "dmoerm-", so that leftovers of any run can be found and removed.

complain() { echo "$(basename "$0"): $*" >&2; exit 1; }

# Exit code for what this machine cannot do; tests then count as skipped.
not_here() { echo "$(basename "$0"): $*" >&2; exit 77; }

# need_tools PACKAGE=COMMAND...: if a command is missing, end with the line that installs it.
need_tools() {
  local pair missing=()
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair#*=}" >/dev/null || missing+=("${pair%%=*}")
  done
  ((${#missing[@]} == 0)) || not_here "programs are missing; as root: apt-get install --yes --no-install-recommends ${missing[*]}"
  [[ $(id -u) == 0 ]] || not_here "network namespaces want root"
  unshare --net true 2>/dev/null || not_here "this machine lets even root make no network namespace"
  PATH=$PATH:/usr/sbin:/sbin
}

# The bridge of a network: a name of at most 15 characters.
bridge_of() { printf 'dmoerm-%s' "$1"; }
# The host's end of a link is e0; ours, on the bridge, has this name.
link_of() { printf 'dmoerm-%s' "$1"; }
namespace_of() { printf 'dmoerm-%s' "$1"; }

# make_hosts NAME NET HOST...: make bridge NAME with address NET.254, and host number i with NET.i; hosts_file prints their names.
make_hosts() {
  local bridge network=$2 host number=0 link namespace
  bridge=$(bridge_of "$1")
  shift 2
  [[ -z $(ip -o route show "$network.0/24") ]] || complain "the network $network.0/24 is in use on this machine: $(ip -o route show "$network.0/24" | head -n 1)"
  ip link add "$bridge" type bridge
  ip addr add "$network.254/24" dev "$bridge"
  ip link set "$bridge" up
  for host in "$@"; do
    number=$((number + 1)) link=$(link_of "$host") namespace=$(namespace_of "$host")
    ip netns add "$namespace"
    ip link add "$link" type veth peer name e0 netns "$namespace"
    ip link set "$link" master "$bridge" up
    ip -n "$namespace" addr add "$network.$number/24" dev e0
    ip -n "$namespace" link set e0 up
    ip -n "$namespace" link set lo up
  done
}

# kill_processes_of HOST...: kill everything that runs in those hosts, and nothing else.
kill_processes_of() {
  local host pids
  for host in "$@"; do
    for _ in 1 2 3; do
      pids=$(ip netns pids "$(namespace_of "$host")" 2>/dev/null) || break
      [[ -n $pids ]] || break
      # shellcheck disable=SC2086  # numbers
      kill -9 $pids 2>/dev/null || true
      sleep 0.1
    done
  done
}

# remove_hosts NAME HOST...: remove the hosts and the bridge, even if the network is incomplete.
remove_hosts() {
  local bridge host
  bridge=$(bridge_of "$1")
  shift
  kill_processes_of "$@"
  for host in "$@"; do
    ip link del "$(link_of "$host")" 2>/dev/null || true
    ip netns del "$(namespace_of "$host")" 2>/dev/null || true
  done
  ip link del "$bridge" 2>/dev/null || true
}

# hosts_file NET HOST...: print the /etc/hosts of these hosts
hosts_file() {
  local network=$1 host number=0
  shift
  echo "127.0.0.1 localhost"
  for host in "$@"; do
    number=$((number + 1))
    echo "$network.$number $host"
  done
}

# set_rate RATE|none HOST...: shape both directions of the links, e.g. 100mbit.
set_rate() {
  local rate=$1 host
  shift
  for host in "$@"; do
    tc qdisc del dev "$(link_of "$host")" root 2>/dev/null || true
    tc -n "$(namespace_of "$host")" qdisc del dev e0 root 2>/dev/null || true
    [[ $rate == none ]] && continue
    tc qdisc add dev "$(link_of "$host")" root tbf rate "$rate" burst 64kb latency 50ms
    tc -n "$(namespace_of "$host")" qdisc add dev e0 root tbf rate "$rate" burst 64kb latency 50ms
  done
}
