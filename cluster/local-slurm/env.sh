#!/usr/bin/env bash
# Prints the variables that a shell needs to use the local Slurm: source <(cluster/local-slurm/env.sh)
set -euo pipefail
# shellcheck source=cluster/local-slurm/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
printf 'export SLURM_CONF=%q\n' "$SLURM_CONF"
