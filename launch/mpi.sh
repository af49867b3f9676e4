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
  compgen -e | grep -E '^(DMOERM|NCCL|FI|UCX|OMP|MKL|MALLOC|TORCH)_' || true
  compgen -e | grep -x LD_LIBRARY_PATH || true
  local name
  for name in ${DMOERM_FORWARD-}; do printf '%s\n' "$name"; done
}
