# DMOERM_BUILD_ONCE shortens a build from scratch in three ways; results keep their bits.
# 1. Most of the time of a file goes into reading the same large headers. They are precompiled twice: once for the folders that use
#    torch and once for the others, which are compiled with other options. g++ 12 then no longer knows which headers are the system's,
#    and warns about them.
# 2. The files of a small folder are compiled in one piece, so that a template is instantiated once. tests/build_once.sh checks it.
#    g++ takes them for headers then, and warns about classes with parts that only one file knows (subobject-linkage).
# 3. Folders without hot loops are compiled with -O1.
if(NOT DMOERM_BUILD_ONCE)
  return()
endif()
target_compile_options(dmoerm_options INTERFACE -Wno-error -Werror=invalid-pch -Wno-stringop-overflow -Wno-stringop-overread
  -Wno-array-bounds -Wno-maybe-uninitialized -Wno-uninitialized -Wno-subobject-linkage)
set(plain_headers <algorithm> <array> <chrono> <cmath> <filesystem> <functional> <map> <memory> <mutex> <optional> <set> <span> <string>
  <thread> <unordered_map> <vector> <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)
set(tensor_headers <ATen/core/Tensor.h> <ATen/TensorOperators.h> <ATen/Parallel.h> <ATen/ops/empty.h> <ATen/ops/zeros.h>)
target_precompile_headers(dmoerm_base PRIVATE ${plain_headers})
target_precompile_headers(dmoerm_nn PRIVATE ${plain_headers} ${tensor_headers})
foreach(folder ${DMOERM_FOLDERS})
  if(folder MATCHES "^(base|nn)$")
    continue()
  elseif(dmoerm_${folder} IN_LIST DMOERM_TORCH_TARGETS)
    target_precompile_headers(dmoerm_${folder} REUSE_FROM dmoerm_nn)
  else()
    target_precompile_headers(dmoerm_${folder} REUSE_FROM dmoerm_base)
  endif()
endforeach()
target_precompile_headers(dmoerm REUSE_FROM dmoerm_nn)
foreach(folder base config preference synth tokenizer data comm plan watch)
  set_target_properties(dmoerm_${folder} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 100)
endforeach()
# A test compiles this file anew over a stand-in for NCCL, and links the folder for the rest.
set_source_files_properties(src/comm/nccl_communicator.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
foreach(target dmoerm dmoerm_config dmoerm_preference dmoerm_comm dmoerm_plan dmoerm_watch dmoerm_judge dmoerm_label dmoerm_label_store dmoerm_run)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endforeach()
