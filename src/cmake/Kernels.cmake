# kernels/*.cu, linked into dmoerm_nn. nvcc is called by hand: CMake's CUDA language would want a whole toolkit, and the packages
# nvidia-cuda-nvcc and nvidia-nvvm (launch/requirements.txt) bring the compiler only. A register that does not fit is an error.
# Where nvcc is missing, or the torch wheel has no CUDA runtime, the kernels are compiled for the CPU, and only tests call them.
file(GLOB kernel_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/kernels/*.cu")
set_source_files_properties(${kernel_sources} PROPERTIES LANGUAGE CXX)
add_library(dmoerm_kernels_emulated OBJECT EXCLUDE_FROM_ALL ${kernel_sources})
target_include_directories(dmoerm_kernels_emulated PUBLIC "${CMAKE_SOURCE_DIR}")
target_link_libraries(dmoerm_kernels_emulated PRIVATE dmoerm_options)
target_compile_options(dmoerm_kernels_emulated PRIVATE -fno-strict-aliasing)
target_include_directories(dmoerm_nn PRIVATE "${CMAKE_SOURCE_DIR}") # kernels/kernels.h

get_filename_component(torch_site "${TORCHWHEEL_DIR}" DIRECTORY)
find_program(DMOERM_NVCC nvcc HINTS "${torch_site}/nvidia/cu13/bin" PATHS /usr/local/cuda/bin)
# The runtime that libtorch loads, with or without a GPU: the one beside the wheel, or a toolkit's where the wheel was unpacked alone, to build
# for another machine.
set(cudart_folders "${torch_site}/nvidia/cu13/lib")
if(EXISTS "${torch_lib}/libc10_cuda.so")
  file(STRINGS "${torch_lib}/libc10_cuda.so" wants_cudart_13 REGEX "^libcudart\\.so\\.13$" LIMIT_COUNT 1)
  if(wants_cudart_13)
    list(APPEND cudart_folders /usr/local/cuda/lib64)
  endif()
endif()
find_library(DMOERM_CUDART NAMES libcudart.so.13 PATHS ${cudart_folders} NO_DEFAULT_PATH)
set(nvcc_version "")
if(DMOERM_NVCC)
  execute_process(COMMAND "${DMOERM_NVCC}" --version OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
endif()
if(NOT nvcc_version MATCHES "release 13\\." OR NOT DMOERM_CUDART)
  set(how STATUS)
  if(DMOERM_CUDA)
    set(how WARNING)
  endif()
  message(${how} "no nvcc of CUDA 13, or a torch wheel without CUDA 13: GPUs do without the kernels of kernels/, slowly (launch/setup.sh installs both)")
  target_sources(dmoerm_nn PRIVATE $<TARGET_OBJECTS:dmoerm_kernels_emulated>)
  return()
endif()
# A100, H100 and H200, and code that the driver translates for what comes later.
set(nvcc_options -std=c++20 -O3 -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90a,code=sm_90a
  -gencode=arch=compute_90,code=compute_90 -Werror all-warnings -Xptxas -warn-spills,-warn-lmem-usage -Xcompiler -Wall,-Wextra,-fPIC
  -ccbin "${CMAKE_CXX_COMPILER}")

# compile_with_nvcc(OBJECT FILE OPTIONS...): a rule that makes OBJECT.
function(compile_with_nvcc object file)
  get_filename_component(folder "${object}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(OUTPUT "${object}" DEPENDS "${file}" DEPFILE "${object}.d" VERBATIM COMMENT "Compiling ${object} with nvcc"
    COMMAND "${DMOERM_NVCC}" ${nvcc_options} "-I${CMAKE_SOURCE_DIR}" ${ARGN} -MMD -MF "${object}.d" -MT "${object}" -c "${file}" -o "${object}")
endfunction()

foreach(source ${kernel_sources})
  get_filename_component(name "${source}" NAME_WE)
  set(object "${CMAKE_BINARY_DIR}/kernels/${name}.o")
  compile_with_nvcc("${object}" "${source}")
  list(APPEND kernel_objects "${object}")
endforeach()
set_source_files_properties(${kernel_objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
add_library(dmoerm_kernels STATIC ${kernel_objects})
set_target_properties(dmoerm_kernels PROPERTIES LINKER_LANGUAGE CXX)
torchwheel_import(torchwheel::cudart "${DMOERM_CUDART}")
get_filename_component(cudart_folder "${DMOERM_CUDART}" DIRECTORY)
target_link_options(torchwheel::cudart INTERFACE "LINKER:--disable-new-dtags,-rpath,${cudart_folder}")
target_link_libraries(dmoerm_kernels INTERFACE torchwheel::cudart)
target_link_libraries(dmoerm_nn PRIVATE dmoerm_kernels)
