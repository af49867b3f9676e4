# --- MPI: the collectives under a real launcher, with 1, 2 and 4 ranks ---
add_executable(mpi_program comm/mpi_program.cpp)
target_link_libraries(mpi_program PRIVATE dmoerm_comm)
target_include_directories(mpi_program PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
set(mpi_environment OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
  OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_btl=self,vader,tcp OMPI_MCA_pml=ob1 OMPI_MCA_plm_rsh_agent=)
foreach(ranks 1 2 4)
  add_test(NAME mpi_collectives_${ranks} COMMAND mpirun -np ${ranks} --oversubscribe --bind-to none $<TARGET_FILE:mpi_program> ${ranks})
  set_tests_properties(mpi_collectives_${ranks} PROPERTIES LABELS mpi TIMEOUT 120 ENVIRONMENT "${mpi_environment}")
endforeach()
if(TARGET torchwheel::nccl) # with as many GPUs as ranks; skipped without
  add_executable(nccl_program comm/nccl_program.cpp)
  target_link_libraries(nccl_program PRIVATE dmoerm_comm torchwheel::nccl)
  target_include_directories(nccl_program PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  foreach(ranks 1 2 4)
    add_test(NAME nccl_collectives_${ranks} COMMAND mpirun -np ${ranks} --oversubscribe --bind-to none $<TARGET_FILE:nccl_program>)
    set_tests_properties(nccl_collectives_${ranks} PROPERTIES LABELS gpu TIMEOUT 120 SKIP_RETURN_CODE 77 ENVIRONMENT "${mpi_environment}")
  endforeach()
endif()
add_test(NAME mpi_timeout COMMAND mpirun -np 2 --oversubscribe --bind-to none $<TARGET_FILE:mpi_program> --timeout)
set_tests_properties(mpi_timeout PROPERTIES LABELS mpi TIMEOUT 60 ENVIRONMENT "${mpi_environment};DMOERM_COMM_TIMEOUT_S=2" PASS_REGULAR_EXPRESSION "timed out as it should.*barrier took longer than 2 s.*and then: an earlier collective failed")

# --- The coordinator under a launcher: failures, retries, pauses, stops; a rank that falls silent is named ---
add_executable(dispatch_program train/dispatch_program.cpp)
target_link_libraries(dispatch_program PRIVATE dmoerm_train)
target_include_directories(dispatch_program PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
add_test(NAME dispatch COMMAND mpirun -np 4 --oversubscribe --bind-to none $<TARGET_FILE:dispatch_program>)
set_tests_properties(dispatch PROPERTIES LABELS mpi TIMEOUT 120 ENVIRONMENT "${mpi_environment}" PASS_REGULAR_EXPRESSION "all held")
foreach(when working leaving left starting)
  add_test(NAME silent_rank_${when} COMMAND mpirun -np 3 --oversubscribe --bind-to none $<TARGET_FILE:dispatch_program> --silent ${when})
  set_tests_properties(silent_rank_${when} PROPERTIES LABELS mpi TIMEOUT 60 ENVIRONMENT "${mpi_environment}"
    PASS_REGULAR_EXPRESSION "rank 2 on host .* has been silent for .* Last it did: step 41 of a test")
endforeach()
set_tests_properties(silent_rank_left PROPERTIES PASS_REGULAR_EXPRESSION "not all ranks have left within 2 s")
set_tests_properties(silent_rank_starting PROPERTIES PASS_REGULAR_EXPRESSION "not all ranks have started within 4 s")

# --- The whole pipeline: same bits on 1, 2 and 4 ranks, and after kills (more of them: launch/torture.sh same-bits --runs 50) ---
add_test(NAME same_bits COMMAND ${CMAKE_SOURCE_DIR}/launch/torture.sh same-bits --runs 1)
set_tests_properties(same_bits PROPERTIES LABELS mpi TIMEOUT 1500 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR}")
foreach(variant adapters all-weights bfloat16 all-weights-sharded decoder)
  add_test(NAME same_bits_${variant} COMMAND ${CMAKE_SOURCE_DIR}/launch/torture.sh same-bits --variant ${variant} --runs 5 --seed 2)
  set_tests_properties(same_bits_${variant} PROPERTIES LABELS stress TIMEOUT 1800 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR}")
endforeach()

# --- Labelling by a judge inside a run, and killed labellings (more of them: launch/torture.sh label-kill) ---
add_test(NAME run_with_judge COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/label/run_with_judge.py)
add_test(NAME label_kill COMMAND ${CMAKE_SOURCE_DIR}/launch/torture.sh label-kill --runs 4 --groups 10)
set_tests_properties(run_with_judge label_kill PROPERTIES LABELS mpi TIMEOUT 600 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR};DMOERM_ROOT=${CMAKE_SOURCE_DIR}")
add_test(NAME label_faults COMMAND ${CMAKE_SOURCE_DIR}/launch/torture.sh label-faults --gone 20)
set_tests_properties(label_faults PROPERTIES LABELS stress TIMEOUT 600 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR}")

# --- A run that is watched: on a terminal that is closed, over HTTP, by `status`, after a kill ---
add_test(NAME run_watched COMMAND bash -c "source '${CMAKE_SOURCE_DIR}/launch/env.sh' && exec \"$DMOERM_PYTHON\" '${CMAKE_CURRENT_SOURCE_DIR}/watch/run_watched.py'")
set_tests_properties(run_watched PROPERTIES LABELS mpi TIMEOUT 900 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR};DMOERM_ROOT=${CMAKE_SOURCE_DIR}")

# --- House rules ---
add_test(NAME layering COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/layering_test.py)
add_test(NAME format COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/format_test.sh)
set_tests_properties(layering format PROPERTIES LABELS fast TIMEOUT 60 SKIP_RETURN_CODE 77)

# --- The program as a whole on bad input: messages, exit codes, what is left ---
add_test(NAME bad_input COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/cli/bad_input_test.py $<TARGET_FILE:dmoerm>)
add_test(NAME plan_verb COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/cli/plan_test.py $<TARGET_FILE:dmoerm>)
set_tests_properties(bad_input plan_verb PROPERTIES LABELS fast TIMEOUT 600)

# --- Fuzzers: clang only, see launch/dev fuzz ---
if(DMOERM_FUZZ)
  add_subdirectory(fuzz)
endif()

# --- Launch scripts ---
add_test(NAME launch_scripts COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/launch/scripts_test.sh)
set_tests_properties(launch_scripts PROPERTIES LABELS fast TIMEOUT 120)

# --- Against other people's programs: tokenizers, h5py, transformers, peft (launch/setup.sh --with smollm2 --with tests) ---
add_test(NAME tokenizer_property COMMAND bash -c "source '${CMAKE_SOURCE_DIR}/launch/env.sh' && exec \"$DMOERM_PYTHON\" '${CMAKE_CURRENT_SOURCE_DIR}/data/tokenizer_property.py' --binary '$<TARGET_FILE:dmoerm>' --strings 1000 --variants \"$DMOERM_MODELS/minilm-l6\" \"$DMOERM_MODELS/smollm2-135m-instruct\"")
add_test(NAME bundle_peers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/serve/bundle_test.sh)
set_tests_properties(tokenizer_property bundle_peers PROPERTIES LABELS peers TIMEOUT 600 SKIP_RETURN_CODE 77 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR}")

# --- A real language model behind somebody else's server as the judge, for the wire ---
add_executable(ask_judge label/ask_judge.cpp)
target_link_libraries(ask_judge PRIVATE dmoerm_label CLI11::CLI11)
add_test(NAME local_judge COMMAND bash -c "source '${CMAKE_SOURCE_DIR}/launch/env.sh' && exec \"$DMOERM_PYTHON\" '${CMAKE_CURRENT_SOURCE_DIR}/label/local_judge.py' --ask-judge '$<TARGET_FILE:ask_judge>' --model \"$DMOERM_MODELS/smollm2-135m-instruct\"")
set_tests_properties(local_judge PROPERTIES LABELS peers TIMEOUT 800 SKIP_RETURN_CODE 77)

# --- The job script that `dmoerm launch --slurm` writes ---
add_executable(cli_test cli/slurm_script_test.cpp ${CMAKE_SOURCE_DIR}/src/cli/slurm_script.cpp)
target_link_libraries(cli_test PRIVATE dmoerm_config GTest::gtest GTest::gtest_main)
target_compile_definitions(cli_test PRIVATE DMOERM_SOURCE="${CMAKE_SOURCE_DIR}")
add_test(NAME cli COMMAND cli_test)
set_tests_properties(cli PROPERTIES LABELS fast TIMEOUT 60)

# --- Slurm and hosts with links on this machine: as root, where Slurm is installed, else skipped (more: launch/torture.sh slurm, netns) ---
add_test(NAME local_slurm COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/cluster/local_slurm_test.py $<TARGET_FILE:dmoerm>)
add_test(NAME local_hosts COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cluster/local_hosts_test.sh)
set_tests_properties(local_slurm local_hosts PROPERTIES LABELS mpi TIMEOUT 300 SKIP_RETURN_CODE 77 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR}")
add_test(NAME torture_slurm COMMAND ${CMAKE_SOURCE_DIR}/launch/torture.sh slurm)
add_test(NAME torture_netns COMMAND ${CMAKE_SOURCE_DIR}/launch/torture.sh netns)
set_tests_properties(torture_slurm torture_netns PROPERTIES LABELS stress TIMEOUT 3600 SKIP_RETURN_CODE 77 ENVIRONMENT "DMOERM_BUILD=${CMAKE_BINARY_DIR}")
