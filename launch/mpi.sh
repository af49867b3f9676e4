# shellcheck shell=bash
# Sourced by launch/dmoerm. Sets what Open MPI needs for a run; the caller's own settings stay.

# mpi_setting NAME VALUE
mpi_setting() {
  local name=OMPI_MCA_$1
  export "$name=${!name-$2}"
}

mpi_settings() {
  if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
  # Waiting ranks leave the core to those that compute.
  mpi_setting mpi_yield_when_idle 1
  mpi_setting btl_vader_single_copy_mechanism none
  # Plain TCP between hosts works everywhere; docs/cluster.md says what to set for InfiniBand and EFA.
  mpi_setting pml ob1
  mpi_setting btl self,vader,tcp
  # Notice a lost host after 3 + 4 x 1 s of silence instead of never; a link that recovers within 5 s has no effect.
  mpi_setting oob_tcp_keepalive_time 3
  mpi_setting oob_tcp_keepalive_intvl 1
  mpi_setting oob_tcp_keepalive_probes 4
}

# Names of the variables that every host gets.
forwarded_variables() {
  compgen -e | grep -E '^(DMOERM|NCCL|FI|UCX|OMP|MKL|MALLOC|TORCH|PYTORCH)_' || true
  compgen -e | grep -x LD_LIBRARY_PATH || true
  local name
  for name in ${DMOERM_FORWARD-}; do printf '%s\n' "$name"; done
}

# How many processes of this control group the kernel has killed because memory was short; nothing if that cannot be read. Version 2
# of control groups counts in memory.events, version 1 in memory.oom_control; a container may see its own group as the root.
out_of_memory_kills() {
  local root=${DMOERM_CGROUPS:-/sys/fs/cgroup} two one file
  two=$(sed -n 's/^0:://p' /proc/self/cgroup 2>/dev/null) || return 0
  one=$(sed -n 's/^[0-9]*:\([^:]*,\)\{0,1\}memory\(,[^:]*\)\{0,1\}://p' /proc/self/cgroup 2>/dev/null) || return 0
  for file in "$root$two/memory.events" "$root/memory$one/memory.oom_control" "$root/memory.events" "$root/memory/memory.oom_control"; do
    if grep -q '^oom_kill ' "$file" 2>/dev/null; then
      sed -n 's/^oom_kill //p' "$file"
      return 0
    fi
  done
}

# Says what ended a rank: explain_signal NUMBER UPTIME_AT_THE_START OUT_OF_MEMORY_KILLS_AT_THE_START
explain_signal() {
  local name reason='' line now
  name=$(kill -l "$1" 2>/dev/null || echo "$1")
  if [ "$name" = KILL ]; then
    now=$(out_of_memory_kills)
    line=$(dmesg 2>/dev/null | awk -v began="$2" -F'[][]' '$2 + 0 >= began + 0' | grep -iE 'out of memory|oom-kill|killed process' | grep -E 'dmoerm|mpirun' | tail -n 1) || true
    if [ -n "$line" ]; then
      reason=": the kernel says: ${line#*] }"
    elif [ -n "$now" ] && [ "$now" -gt "${3:-0}" ]; then
      reason=": the kernel killed it because this job or container was out of memory (its control group counts such kills)"
    else
      reason=": perhaps by the kernel because the host was out of memory (dmesg or the batch system tells)"
    fi
    reason="$reason. To need less memory, lower compute.micro_batch_tokens or compute.trunk_cache_mb, or start fewer ranks on a host"
  elif [ "$name" = BUS ]; then
    reason=": a file that it reads through memory became shorter, or could not be read any more (is a model being copied to its place, or did a network file system fail?), or /dev/shm is full"
  elif [ "$name" = ILL ]; then
    reason=": the processor of its host lacks instructions that the build uses (launch/dev doctor tells which)"
  fi
  echo "dmoerm: a rank or mpirun was ended by SIG$name$reason. The same command goes on from the last checkpoints"
}
