# Imported targets for the torch wheel from PyPI. find_package(Torch) would pick a CUDA toolkit's NCCL and fails
# without a toolkit, so the libraries are named here one by one.
#   torchwheel::torch       CPU libtorch, always
#   torchwheel::torch_cuda  registers the CUDA back end, when the wheel carries it and DMOERM_CUDA is on
#   torchwheel::cuda_headers  headers of the CUDA runtime and of cuBLAS, when the wheel carries CUDA
set(DMOERM_PYTHON "python3" CACHE STRING "Python whose site-packages hold the pinned torch wheel")
if(NOT TORCHWHEEL_DIR)
  execute_process(
    COMMAND ${DMOERM_PYTHON} -c "import importlib.util as u, os; print(os.path.dirname(u.find_spec('torch').origin))"
    OUTPUT_VARIABLE torch_dir OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    message(FATAL_ERROR "${DMOERM_PYTHON} has no torch package: run launch/setup.sh, which makes one")
  endif()
  set(TORCHWHEEL_DIR "${torch_dir}" CACHE PATH "directory of the torch package")
endif()
set(torch_lib "${TORCHWHEEL_DIR}/lib")
find_package(Threads REQUIRED)

function(torchwheel_import name file)
  add_library(${name} SHARED IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${file}")
endfunction()

torchwheel_import(torchwheel::c10 "${torch_lib}/libc10.so")
# The wheel's own OpenMP runtime: linking the system's beside it would start two thread pools.
torchwheel_import(torchwheel::gomp "${torch_lib}/libgomp.so.1")
torchwheel_import(torchwheel::torch "${torch_lib}/libtorch_cpu.so")
# After the system's directories: the wheel carries other versions of headers that Debian has too (fmt).
target_compile_options(torchwheel::torch INTERFACE -fopenmp "SHELL:-idirafter ${TORCHWHEEL_DIR}/include"
  "SHELL:-idirafter ${TORCHWHEEL_DIR}/include/torch/csrc/api/include")
target_link_libraries(torchwheel::torch INTERFACE torchwheel::c10 torchwheel::gomp Threads::Threads)
# libtorch_cpu.so of a CUDA wheel needs libcudart; its RPATH finds it at run time, the linker need not.
# Old-style RPATH, because with RUNPATH a toolkit in LD_LIBRARY_PATH would swap NCCL for another version.
target_link_options(torchwheel::torch INTERFACE
  "LINKER:--allow-shlib-undefined" "LINKER:--disable-new-dtags,-rpath,${torch_lib}")

# Headers of the CUDA runtime, where the wheel carries CUDA. They want those of crt/ and, where there is no toolkit, find them in the packages
# nvidia-cuda-crt and nvidia-cuda-cccl (launch/requirements.txt).
get_filename_component(torch_site "${TORCHWHEEL_DIR}" DIRECTORY)
set(torch_nvidia "${torch_site}/nvidia")
if(EXISTS "${torch_lib}/libtorch_cuda.so")
  file(GLOB cuda_folders "${torch_nvidia}/cu*")
  list(APPEND cuda_folders /usr/local/cuda)
  find_path(TORCHWHEEL_CUDA_INCLUDE cuda_runtime_api.h PATHS ${cuda_folders} PATH_SUFFIXES include NO_DEFAULT_PATH)
  find_path(TORCHWHEEL_CUDA_CRT crt/host_config.h PATHS ${cuda_folders} PATH_SUFFIXES include NO_DEFAULT_PATH)
  if(TORCHWHEEL_CUDA_INCLUDE AND TORCHWHEEL_CUDA_CRT)
    add_library(torchwheel::cuda_headers INTERFACE IMPORTED GLOBAL)
    target_compile_options(torchwheel::cuda_headers INTERFACE "SHELL:-isystem ${TORCHWHEEL_CUDA_INCLUDE}" "SHELL:-isystem ${TORCHWHEEL_CUDA_CRT}")
  endif()
endif()

if(DMOERM_CUDA)
  if(NOT EXISTS "${torch_lib}/libtorch_cuda.so")
    message(FATAL_ERROR "DMOERM_CUDA is on, but the wheel in ${TORCHWHEEL_DIR} has no CUDA libraries")
  endif()
  torchwheel_import(torchwheel::c10_cuda "${torch_lib}/libc10_cuda.so")
  torchwheel_import(torchwheel::torch_cuda "${torch_lib}/libtorch_cuda.so")
  target_link_libraries(torchwheel::torch_cuda INTERFACE torchwheel::torch torchwheel::c10_cuda)
  target_link_options(torchwheel::torch_cuda INTERFACE "LINKER:--no-as-needed,${torch_lib}/libtorch_cuda.so,--as-needed")
  # The NCCL that libtorch_cuda loads. Its header wants those of the CUDA runtime.
  find_library(TORCHWHEEL_CUDART NAMES libcudart.so.13 libcudart.so.12 cudart PATHS ${cuda_folders} PATH_SUFFIXES lib lib64 NO_DEFAULT_PATH)
  if(EXISTS "${torch_nvidia}/nccl/include/nccl.h" AND TARGET torchwheel::cuda_headers AND TORCHWHEEL_CUDART)
    torchwheel_import(torchwheel::nccl "${torch_nvidia}/nccl/lib/libnccl.so.2")
    target_compile_options(torchwheel::nccl INTERFACE "SHELL:-isystem ${torch_nvidia}/nccl/include")
    target_link_libraries(torchwheel::nccl INTERFACE torchwheel::cuda_headers "${TORCHWHEEL_CUDART}")
    get_filename_component(cudart_folder "${TORCHWHEEL_CUDART}" DIRECTORY)
    target_link_options(torchwheel::nccl INTERFACE "LINKER:--allow-shlib-undefined" "LINKER:--disable-new-dtags,-rpath,${torch_nvidia}/nccl/lib:${cudart_folder}")
  else()
    message(WARNING "no headers of NCCL and the CUDA runtime beside the torch wheel (nvidia-cuda-crt missing?): GPUs of several ranks will exchange sums through the hosts' memory")
  endif()
endif()
