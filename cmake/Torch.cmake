# libtorch as imported targets. Torch's own CMake package insists on a CUDA toolkit even for CPU use, so it is not used.
#   t2v::torch_cpu   libtorch_cpu + libc10, what the engine links
#   t2v::torch_cuda  libtorch_cuda + libc10_cuda, what the CUDA plug-in links (only when the files are there)
# T2V_TORCH_DIR takes an existing libtorch or the torch folder of a Python environment instead.
if(NOT T2V_TORCH_DIR)
  foreach(candidate IN LISTS T2V_DEPS_DIRS)
    if(EXISTS ${candidate}/torch/lib/libtorch_cpu.so)
      set(T2V_TORCH_DIR ${candidate}/torch CACHE PATH "" FORCE)
      break()
    endif()
  endforeach()
endif()
if(NOT EXISTS ${T2V_TORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "libtorch not found: run scripts/setup, or set T2V_TORCH_DIR to a torch package or libtorch")
endif()
get_filename_component(T2V_TORCH_DIR_REAL ${T2V_TORCH_DIR} REALPATH)

# The libraries beside torch that it needs: libtorch_cpu of the CUDA wheel asks for libcudart and libcupti, libtorch_cuda
# for many more. The wheels unpack to nvidia/cu13/lib (or nvidia/NAME/lib) beside torch; a toolkit serves as well.
set(T2V_CUDA_RUNTIME_DIRS "")
file(GLOB candidates ${T2V_TORCH_DIR_REAL}/../nvidia/*/lib)
foreach(candidate IN LISTS candidates ITEMS /usr/local/cuda/lib64 /usr/local/cuda/extras/CUPTI/lib64)
  if(EXISTS ${candidate})
    get_filename_component(candidate ${candidate} REALPATH)
    list(APPEND T2V_CUDA_RUNTIME_DIRS ${candidate})
  endif()
endforeach()
list(REMOVE_DUPLICATES T2V_CUDA_RUNTIME_DIRS)

add_library(t2v::torch_cpu INTERFACE IMPORTED)
target_include_directories(t2v::torch_cpu SYSTEM INTERFACE ${T2V_TORCH_DIR}/include)
target_compile_definitions(t2v::torch_cpu INTERFACE AT_PER_OPERATOR_HEADERS)
target_link_libraries(t2v::torch_cpu INTERFACE ${T2V_TORCH_DIR}/lib/libtorch_cpu.so ${T2V_TORCH_DIR}/lib/libc10.so)
foreach(dir IN LISTS T2V_CUDA_RUNTIME_DIRS)
  target_link_options(t2v::torch_cpu INTERFACE -Wl,-rpath-link,${dir})
endforeach()
# The wheel's libraries look for NVIDIA's beside torch themselves. Where these come from elsewhere, such as a toolkit, what
# links libtorch has to name the folder in a form that counts for libtorch's own dependencies too (RPATH, not RUNPATH).
file(GLOB beside ${T2V_TORCH_DIR_REAL}/../nvidia/*/lib/libcudart.so.13 ${T2V_TORCH_DIR_REAL}/lib/libcudart.so.13)
if(NOT beside)
  set(CMAKE_BUILD_RPATH ${T2V_CUDA_RUNTIME_DIRS})
  target_link_options(t2v::torch_cpu INTERFACE -Wl,--disable-new-dtags)
endif()

if(EXISTS ${T2V_TORCH_DIR}/lib/libtorch_cuda.so)
  add_library(t2v::torch_cuda INTERFACE IMPORTED)
  # Loading libtorch_cuda is what registers its operators, so it is kept even where no symbol of it is used.
  target_link_libraries(t2v::torch_cuda INTERFACE t2v::torch_cpu -Wl,--push-state,--no-as-needed
    ${T2V_TORCH_DIR}/lib/libtorch_cuda.so ${T2V_TORCH_DIR}/lib/libc10_cuda.so -Wl,--pop-state)
endif()
