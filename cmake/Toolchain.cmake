# Compiler-wide settings: warnings, sanitizers, compiler cache, linker.
add_library(t2v_warnings INTERFACE)
target_compile_options(t2v_warnings INTERFACE -Wall -Wextra -Wshadow -Wno-unused-parameter
  $<$<BOOL:${T2V_WERROR}>:-Werror>)

# Messages and debug information name src/..., not the folder this machine happened to build in.
add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>)

if(T2V_SANITIZE)
  # -O1: checked code is slow to compile and to run at -O0, and hides less than at -O3.
  add_compile_options(-O1 -g1 -fno-omit-frame-pointer -fsanitize=${T2V_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${T2V_SANITIZE})
endif()

# The cache lies in the source tree (all build folders share it), not under the home directory, unless the user has
# chosen a place through ccache's own variables.
find_program(T2V_CCACHE ccache)
if(T2V_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(launcher ${T2V_CCACHE})
  if("$ENV{CCACHE_DIR}$ENV{CCACHE_CONFIGPATH}" STREQUAL "")
    set(cache ${PROJECT_SOURCE_DIR}/.ccache)
    execute_process(COMMAND test -w ${PROJECT_SOURCE_DIR} RESULT_VARIABLE read_only)
    if(read_only)
      set(cache ${PROJECT_BINARY_DIR}/.ccache)
    endif()
    set(launcher env CCACHE_DIR=${cache} CCACHE_MAXSIZE=2G ${T2V_CCACHE})
  endif()
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
endif()

# A fast linker where the compiler can drive it (g++ knows mold from version 12 on).
include(CheckLinkerFlag)
foreach(name mold lld)
  check_linker_flag(CXX -fuse-ld=${name} T2V_HAVE_${name})
  if(T2V_HAVE_${name})
    add_link_options($<$<NOT:$<LINK_LANGUAGE:CUDA>>:-fuse-ld=${name}>)
    break()
  endif()
endforeach()
