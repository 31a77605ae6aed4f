# libtorch as imported targets. Torch's own CMake package insists on a CUDA toolkit even for CPU use, so it is not used.
#   t2v::torch_cpu   libtorch_cpu + libc10, what the engine links
#   t2v::torch_cuda  libtorch_cuda + libc10_cuda, what the CUDA plug-in links (only when the files are there)
if(NOT T2V_TORCH_DIR)
  foreach(candidate ${PROJECT_SOURCE_DIR}/.deps/torch ${PROJECT_BINARY_DIR}/deps/torch $ENV{T2V_DEPS}/torch)
    if(EXISTS ${candidate}/lib/libtorch_cpu.so)
      set(T2V_TORCH_DIR ${candidate} CACHE PATH "" FORCE)
      break()
    endif()
  endforeach()
endif()
if(NOT EXISTS ${T2V_TORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "libtorch not found: run scripts/setup, or set T2V_TORCH_DIR to a torch package or libtorch")
endif()

# libtorch_cpu of the CUDA wheel needs libcudart and libcupti; the small wheels unpack beside torch.
set(T2V_CUDA_RUNTIME_DIRS "")
foreach(candidate ${T2V_TORCH_DIR}/../nvidia/cu13/lib ${T2V_TORCH_DIR}/../nvidia/cuda_runtime/lib
        ${T2V_TORCH_DIR}/../nvidia/cuda_cupti/lib /usr/local/cuda/lib64 /usr/local/cuda/extras/CUPTI/lib64)
  if(EXISTS ${candidate})
    get_filename_component(candidate ${candidate} REALPATH)
    list(APPEND T2V_CUDA_RUNTIME_DIRS ${candidate})
  endif()
endforeach()

add_library(t2v::torch_cpu INTERFACE IMPORTED)
target_include_directories(t2v::torch_cpu SYSTEM INTERFACE ${T2V_TORCH_DIR}/include)
target_compile_definitions(t2v::torch_cpu INTERFACE AT_PER_OPERATOR_HEADERS)
target_link_libraries(t2v::torch_cpu INTERFACE ${T2V_TORCH_DIR}/lib/libtorch_cpu.so ${T2V_TORCH_DIR}/lib/libc10.so)
foreach(dir IN LISTS T2V_CUDA_RUNTIME_DIRS)
  target_link_options(t2v::torch_cpu INTERFACE -Wl,-rpath-link,${dir})
endforeach()
set(CMAKE_BUILD_RPATH ${T2V_TORCH_DIR}/lib ${T2V_CUDA_RUNTIME_DIRS})

if(EXISTS ${T2V_TORCH_DIR}/lib/libtorch_cuda.so)
  add_library(t2v::torch_cuda INTERFACE IMPORTED)
  target_link_libraries(t2v::torch_cuda INTERFACE t2v::torch_cpu ${T2V_TORCH_DIR}/lib/libtorch_cuda.so
    ${T2V_TORCH_DIR}/lib/libc10_cuda.so)
endif()
