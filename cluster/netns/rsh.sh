#!/usr/bin/env bash
# Lets mpirun reach the hosts of net.sh: OMPI_MCA_plm_rsh_agent=cluster/netns/rsh.sh. Takes the arguments of ssh.
set -euo pipefail
while [[ ${1-} == -* ]]; do shift; done
exec "$(dirname "${BASH_SOURCE[0]}")/net.sh" run "$@"
