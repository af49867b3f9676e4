# cmake --install build/release --prefix PREFIX: the program runs from anywhere as PREFIX/bin/dmoerm, or with several ranks as
# PREFIX/share/dmoerm/launch/dmoerm. It goes on using the torch wheel that it was linked with.
set_target_properties(dmoerm PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS dmoerm RUNTIME DESTINATION bin)
install(DIRECTORY configs DESTINATION share/dmoerm PATTERN small EXCLUDE) # small: runs of tests
install(PROGRAMS launch/dmoerm DESTINATION share/dmoerm/launch)
install(FILES launch/env.sh launch/mpi.sh DESTINATION share/dmoerm/launch)
install(PROGRAMS launch/slurm/dmoerm.sbatch DESTINATION share/dmoerm/launch/slurm)
install(FILES LICENSE README.md docs/CHANGELOG.md DESTINATION share/doc/dmoerm OPTIONAL)
# The manual page and the completion come from the program itself.
install(CODE [[
  function(from_program file)
    set(path "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/${file}")
    get_filename_component(folder "${path}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    execute_process(COMMAND "$<TARGET_FILE:dmoerm>" ${ARGN} OUTPUT_FILE "${path}" RESULT_VARIABLE failed)
    if(failed)
      file(REMOVE "${path}")
      message(WARNING "the program cannot be run here: ${path} is left out")
    endif()
  endfunction()
  from_program(man/man1/dmoerm.1 man)
  from_program(bash-completion/completions/dmoerm completion bash)
  from_program(fish/vendor_completions.d/dmoerm.fish completion fish)
]])
