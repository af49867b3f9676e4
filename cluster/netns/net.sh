#!/usr/bin/env bash
# Three hosts h1, h2, h3 with real links on one machine, for tests. Usage:
#   net.sh up [RATE]           make them, replacing old ones, e.g. with 100 Mbit/s links: net.sh up 100mbit
#   net.sh down                remove them and end everything that runs in them
#   net.sh cut HOST            pull the plug of a host's link; mend HOST: put it in again
#   net.sh rate RATE|none      shape all links, both directions
#   net.sh run HOST COMMAND    run a shell command there (also the plm_rsh_agent of mpirun: see rsh.sh)
#   net.sh kill [HOST...]      SIGKILL everything that runs there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=cluster/netns/hosts.sh
source "$here/hosts.sh"
name=net network=10.78.0 hosts=(h1 h2 h3)
names=/run/dmoerm-$name.hosts
need_tools iproute2=ip iproute2=tc util-linux=unshare

known() { [[ " ${hosts[*]} " == *" ${1-} "* ]] || complain "unknown host '${1-}'; known: ${hosts[*]}"; }

case "${1-}" in
  up)
    remove_hosts "$name" "${hosts[@]}"
    make_hosts "$name" "$network" "${hosts[@]}"
    hosts_file "$network" "${hosts[@]}" >"$names"
    [[ -z ${2-} ]] || set_rate "$2" "${hosts[@]}"
    ;;
  down)
    remove_hosts "$name" "${hosts[@]}"
    rm -f "$names"
    ;;
  cut) known "${2-}" && ip link set "$(link_of "$2")" down ;;
  mend) known "${2-}" && ip link set "$(link_of "$2")" up ;;
  rate)
    [[ -n ${2-} ]] || complain "rate: expected a rate such as 100mbit, or none"
    set_rate "$2" "${hosts[@]}"
    ;;
  run)
    known "${2-}"
    namespace=$(namespace_of "$2") host=$2
    shift 2
    # shellcheck disable=SC2016  # for the shell inside
    # Gives the host its own name, without which Open MPI takes all ranks for local, and its own /etc/hosts.
    exec nsenter --net="/run/netns/$namespace" unshare --uts --mount bash -c \
      'hostname "$1" && mount --bind "$2" /etc/hosts && exec bash -c "$3"' "$host" "$host" "$names" "$*"
    ;;
  kill)
    shift
    for host in "$@"; do known "$host"; done
    (($# > 0)) || set -- "${hosts[@]}"
    kill_processes_of "$@"
    ;;
  *)
    sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
