# DMOERM_PCH: most of the time of a file goes into reading the same large headers. They are read twice: once for the folders that use
# torch and once for the others, which are compiled with other options.
# No file means anything else than without them, but g++ 12 no longer knows which headers are the system's, and warns about them.
if(NOT DMOERM_PCH)
  return()
endif()
target_compile_options(dmoerm_options INTERFACE -Wno-error -Werror=invalid-pch -Wno-stringop-overflow -Wno-stringop-overread
  -Wno-array-bounds -Wno-maybe-uninitialized)
set(plain_headers <algorithm> <array> <chrono> <cmath> <filesystem> <functional> <map> <memory> <mutex> <optional> <set> <span> <string>
  <thread> <unordered_map> <vector> <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)
set(tensor_headers <ATen/core/Tensor.h> <ATen/TensorOperators.h> <ATen/Parallel.h> <ATen/ops/empty.h> <ATen/ops/zeros.h>)
target_precompile_headers(dmoerm_base PRIVATE ${plain_headers})
target_precompile_headers(dmoerm_nn PRIVATE ${plain_headers} ${tensor_headers})
foreach(folder ${DMOERM_FOLDERS})
  if(folder MATCHES "^(moe|train|run)$")
    target_precompile_headers(dmoerm_${folder} REUSE_FROM dmoerm_nn)
  elseif(NOT folder MATCHES "^(base|nn)$")
    target_precompile_headers(dmoerm_${folder} REUSE_FROM dmoerm_base)
  endif()
endforeach()
target_precompile_headers(dmoerm REUSE_FROM dmoerm_nn)
