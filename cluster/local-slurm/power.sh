#!/usr/bin/env bash
# A node's power switch. Usage: power.sh off NODE (kills slurmd and every process of the node at once) | on NODE
set -euo pipefail
# shellcheck source=cluster/local-slurm/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_tools iproute2=ip
[[ " ${nodes[*]} " == *" ${2-} "* ]] || complain "unknown node '${2-}'; known: ${nodes[*]}"
case "${1-}" in
  off)
    pid=$(running "$2") || complain "$2 is off"
    kill -9 "$pid"
    kill_processes_of "$2"
    ;;
  on)
    running "$2" >/dev/null && complain "$2 is on"
    rm -rf "$DMOERM_LOCAL_SLURM/spool-$2" && mkdir "$DMOERM_LOCAL_SLURM/spool-$2"  # as on a node whose spool is in memory
    start_node "$2"
    wait_until 60 "node $2" node_answers "$2"
    ;;
  *) complain "unknown position '${1-}'; known: off, on" ;;
esac
