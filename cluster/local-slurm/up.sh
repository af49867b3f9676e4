#!/usr/bin/env bash
# Starts four Slurm nodes n1..n4 on this machine for tests, each with its own host name, processes and network link.
# Usage: up.sh [--install]; then: source <(cluster/local-slurm/env.sh); sinfo
# Takes down a running cluster first, so that it always starts fresh. --install fetches the missing Debian packages.
set -euo pipefail
# shellcheck source=cluster/local-slurm/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [[ ${1-} == --install ]]; then
  # Install only the programs: the distribution's services would start other daemons with other settings.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends -o Dpkg::Use-Pty=0 \
    slurm-wlm munge iproute2 libpmix2 >/dev/null || complain "the packages slurm-wlm, munge, iproute2 and libpmix2 could not be installed"
elif (($# > 0)); then
  complain "unknown argument '$1'; known: --install"
fi
need_tools slurm-wlm=slurmctld slurm-wlm=slurmd slurm-wlm=sbatch munge=munged iproute2=ip util-linux=unshare
"$here/down.sh"

umask 022
mkdir -p "$DMOERM_LOCAL_SLURM"/{log,munge,state,pmix} "${nodes[@]/#/$DMOERM_LOCAL_SLURM/spool-}"
chmod 700 "$DMOERM_LOCAL_SLURM/state"
make_hosts "$name" "$network" "${nodes[@]}"
hosts_file "$network" "${nodes[@]}" >"$DMOERM_LOCAL_SLURM/hosts"
sed -e "s|@DIR@|$DMOERM_LOCAL_SLURM|g" -e "s|@HOST@|$(hostname -s)|g" -e "s|@NET@|$network|g" "$here/slurm.conf.in" >"$DMOERM_LOCAL_SLURM/slurm.conf"
# The PMIx servers of all nodes cannot share one folder for their sockets, so each node mounts its own over it.
echo "PMIxCliTmpDirBase=$DMOERM_LOCAL_SLURM/pmix" >"$DMOERM_LOCAL_SLURM/mpi.conf"

munge_dir=$DMOERM_LOCAL_SLURM/munge
(umask 077 && head -c 1024 /dev/urandom >"$munge_dir/key")
munged --foreground --force --num-threads=2 --key-file="$munge_dir/key" --socket="$munge_dir/socket" --pid-file="$munge_dir/pid" \
  --log-file="$DMOERM_LOCAL_SLURM/log/munged" --seed-file="$munge_dir/seed" </dev/null >"$DMOERM_LOCAL_SLURM/log/munged.console" 2>&1 &
record munged $!
wait_until 10 "munged (see $DMOERM_LOCAL_SLURM/log)" munge --socket="$munge_dir/socket" --no-input
slurmctld -D -f "$SLURM_CONF" </dev/null >"$DMOERM_LOCAL_SLURM/log/slurmctld.console" 2>&1 &
record slurmctld $!
for node in "${nodes[@]}"; do start_node "$node"; done
for part in munged slurmctld "${nodes[@]}"; do
  sleep 0.1
  gone "$part" && complain "$part ended at once: $(tail -n 1 "$DMOERM_LOCAL_SLURM/log/$part.console")"
done
for node in "${nodes[@]}"; do wait_until 30 "node $node (see $DMOERM_LOCAL_SLURM/log)" node_answers "$node"; done
sinfo
