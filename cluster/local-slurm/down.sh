#!/usr/bin/env bash
# Ends what up.sh started and removes what it made, even if up.sh was interrupted. Usage: down.sh
set -euo pipefail
# shellcheck source=cluster/local-slurm/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_tools iproute2=ip
for node in "${nodes[@]}"; do
  if pid=$(running "$node"); then kill -9 "$pid" 2>/dev/null || true; fi
done
remove_hosts "$name" "${nodes[@]}"
stop slurmctld TERM
stop munged TERM
rm -rf "$DMOERM_LOCAL_SLURM"
