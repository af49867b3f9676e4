# cmake --install build/release --prefix PREFIX: the program runs from anywhere as PREFIX/bin/dmoerm, or with several ranks as
# PREFIX/share/dmoerm/launch/dmoerm. It goes on using the torch wheel that it was linked with.
set_target_properties(dmoerm PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS dmoerm RUNTIME DESTINATION bin)
install(DIRECTORY configs DESTINATION share/dmoerm PATTERN small EXCLUDE) # small: runs of tests
install(PROGRAMS launch/dmoerm DESTINATION share/dmoerm/launch)
install(FILES launch/env.sh launch/mpi.sh DESTINATION share/dmoerm/launch)
install(PROGRAMS launch/slurm/dmoerm.sbatch DESTINATION share/dmoerm/launch/slurm)
install(FILES LICENSE README.md docs/CHANGELOG.md DESTINATION share/doc/dmoerm OPTIONAL)
