# Whether the CUDA plug-in is built, and with what. Sets T2V_HAVE_CUDA, T2V_NVCC, T2V_CUDA_INCLUDE, T2V_CUDART, and
# t2v_cuda_object(). nvcc is called by custom commands: CMake's own CUDA language insists on a whole toolkit in its usual
# layout, and the compiler may also be the one that scripts/setup --cuda unpacks.
set(T2V_CUDA_ARCHITECTURES "75;80;86;89;90;100;120" CACHE STRING
  "compute capabilities the kernels are compiled for; the last also as PTX, for later ones")
set(T2V_HAVE_CUDA OFF)
if(T2V_CUDA STREQUAL "OFF")
  return()
endif()

set(hints "")
foreach(dir IN LISTS T2V_DEPS_DIRS)
  list(APPEND hints ${dir}/nvidia/cu13/bin)
endforeach()
find_program(T2V_NVCC nvcc HINTS ${hints} PATHS /usr/local/cuda/bin DOC "CUDA compiler for the plug-in")
set(missing "")
if(NOT TARGET t2v::torch_cuda)
  set(missing "libtorch_cuda.so is not in ${T2V_TORCH_DIR}/lib")
elseif(NOT T2V_NVCC)
  set(missing "nvcc is not found")
else()
  execute_process(COMMAND ${T2V_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+)\\.[0-9]+" text "${text}")
  if(NOT CMAKE_MATCH_1 STREQUAL "13")  # the torch wheel's headers and libraries are CUDA 13's
    set(missing "nvcc must be of CUDA 13, ${T2V_NVCC} says '${text}'")
  endif()
  get_filename_component(cuda_root ${T2V_NVCC} REALPATH)
  get_filename_component(cuda_root ${cuda_root} DIRECTORY)
  get_filename_component(cuda_root ${cuda_root} DIRECTORY)
  find_path(T2V_CUDA_INCLUDE cuda_runtime_api.h HINTS ${cuda_root}/include ${cuda_root}/targets/x86_64-linux/include
    NO_DEFAULT_PATH)
  find_file(T2V_CUDART libcudart.so.13 HINTS ${T2V_CUDA_RUNTIME_DIRS} NO_DEFAULT_PATH)
  if(NOT missing AND (NOT T2V_CUDA_INCLUDE OR NOT T2V_CUDART))
    set(missing "cuda_runtime_api.h or libcudart.so.13 is not found")
  endif()
endif()
if(NOT missing)
  set(T2V_HAVE_CUDA ON)
  message(STATUS "CUDA plug-in: built with ${T2V_NVCC} for ${T2V_CUDA_ARCHITECTURES}")
elseif(T2V_CUDA STREQUAL "ON")
  message(FATAL_ERROR "CUDA plug-in: ${missing}; scripts/setup --cuda installs what is needed")
else()
  message(STATUS "CUDA plug-in: not built, ${missing}")
endif()

# t2v_cuda_object(OUT SOURCE): compiles one .cu file; OUT gets the object's path.
function(t2v_cuda_object out source)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${source}.o)
  get_filename_component(folder ${object} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  set(flags -std=c++20 -O3 --threads 0 -ccbin ${CMAKE_CXX_COMPILER}
    -Xcompiler=-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-Wall,-Wno-unknown-pragmas --expt-relaxed-constexpr)
  foreach(capability IN LISTS T2V_CUDA_ARCHITECTURES)
    list(APPEND flags -gencode=arch=compute_${capability},code=sm_${capability})
    set(last ${capability})
  endforeach()
  list(APPEND flags -gencode=arch=compute_${last},code=compute_${last}
    -I${PROJECT_SOURCE_DIR}/src -I${PROJECT_SOURCE_DIR}/include -isystem ${T2V_TORCH_DIR}/include
    -DAT_PER_OPERATOR_HEADERS)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${T2V_NVCC} ${flags} -MD -MF ${object}.d -c
            ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source}
    DEPFILE ${object}.d
    COMMENT "Building CUDA object ${source}"
    VERBATIM)
  set(${out} ${object} PARENT_SCOPE)
endfunction()
