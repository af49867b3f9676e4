# DMOERM_BUILD_ONCE shortens a build from scratch to about a third, as the quick start and launch/test.sh need it; results keep their bits.
# 1. Most of the time of a file goes into reading the same large headers. They are precompiled twice: once for the folders that use
#    torch and once for the others, which are compiled with other options. g++ 12 then no longer knows which headers are the system's,
#    and gives its false alarms about them.
# 2. The files of most folders are compiled in one piece, so that a template is instantiated once. g++ takes them for headers then,
#    and warns about classes with parts that only one file knows (subobject-linkage).
# 3. Folders without hot loops are compiled with -O1.
if(NOT DMOERM_BUILD_ONCE)
  return()
endif()
target_compile_options(dmoerm_options INTERFACE -Winvalid-pch -Wno-stringop-overflow -Wno-stringop-overread
  -Wno-array-bounds -Wno-maybe-uninitialized -Wno-uninitialized -Wno-subobject-linkage)
set(plain_headers <algorithm> <array> <chrono> <cmath> <filesystem> <functional> <map> <memory> <mutex> <optional> <set> <span> <string>
  <thread> <unordered_map> <vector> <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)
set(tensor_headers <ATen/core/Tensor.h> <ATen/TensorOperators.h> <ATen/Parallel.h> <ATen/ops/empty.h> <ATen/ops/zeros.h>)
target_precompile_headers(dmoerm_base PRIVATE ${plain_headers})
target_precompile_headers(dmoerm_nn PRIVATE ${plain_headers} ${tensor_headers})
foreach(folder ${DMOERM_FOLDERS})
  if(NOT folder STREQUAL nn)  # its loops are compiled file by file, as in other builds
    set_target_properties(dmoerm_${folder} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 100)
  endif()
  if(folder MATCHES "^(base|nn)$")
    continue()
  elseif(dmoerm_${folder} IN_LIST DMOERM_TORCH_TARGETS)
    target_precompile_headers(dmoerm_${folder} REUSE_FROM dmoerm_nn)
  else()
    target_precompile_headers(dmoerm_${folder} REUSE_FROM dmoerm_base)
  endif()
endforeach()
target_precompile_headers(dmoerm REUSE_FROM dmoerm_nn)
foreach(target dmoerm dmoerm_config dmoerm_preference dmoerm_comm dmoerm_plan dmoerm_watch dmoerm_judge dmoerm_label dmoerm_label_store dmoerm_run dmoerm_hf dmoerm_report dmoerm_wire)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endforeach()

# compiled_alone(FILES...): not in one piece with their folders.
function(compiled_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
compiled_alone(src/comm/nccl_communicator.cpp)  # a test compiles this file anew over a stand-in for NCCL, and links the folder for the rest
# These give a name to something else than another file of their folder does.
compiled_alone(src/eval/pair_figures.cpp src/eval/report_text.cpp src/eval/server_scores.cpp src/judge/verdict_words.cpp
  src/judge/verdict_parser.cpp src/label/reply_label.cpp src/label/targets.cpp src/label_store/verify.cpp src/label_store/wal_check.cpp
  src/moe/aggregator_fit.cpp src/moe/ood_detector.cpp src/moe/pairwise_ridge.cpp src/report/model_card.cpp src/report/sections_of_quality.cpp
  src/serve/framing.cpp src/serve/http_server.cpp src/wire/reply.cpp)

# shorten_test(TARGET LINKS...): the same for a program of tests; benchmarks keep their optimization. Those with gtest read headers that
# base_test and nn_test precompile, because gtest comes with a definition of its own.
function(shorten_test target)
  if(NOT target MATCHES "^bench_")
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 100)
  endif()
  set(owner base)
  foreach(link ${ARGN})
    if(link IN_LIST DMOERM_TORCH_TARGETS)
      set(owner nn)
    endif()
  endforeach()
  if(NOT GTest::gtest IN_LIST ARGN)
    if(TARGET torchwheel::torch_cuda)  # programs of tests have torch's options then, the folder base has not
      set(owner nn)
    endif()
    target_precompile_headers(${target} REUSE_FROM dmoerm_${owner})
  elseif(target STREQUAL base_test)
    target_precompile_headers(${target} PRIVATE ${plain_headers} <gtest/gtest.h>)
  elseif(target STREQUAL nn_test)
    target_precompile_headers(${target} PRIVATE ${plain_headers} ${tensor_headers} <gtest/gtest.h>)
  else()
    target_precompile_headers(${target} REUSE_FROM ${owner}_test)
  endif()
endfunction()
