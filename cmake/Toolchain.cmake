# Compiler-wide settings: warnings, sanitizers, compiler cache, linker.
add_library(t2v_warnings INTERFACE)
target_compile_options(t2v_warnings INTERFACE -Wall -Wextra -Wshadow -Wno-unused-parameter
  $<$<BOOL:${T2V_WERROR}>:-Werror>)

if(T2V_SANITIZE)
  add_compile_options(-fsanitize=${T2V_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${T2V_SANITIZE})
endif()

find_program(T2V_CCACHE ccache)
if(T2V_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${T2V_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${T2V_CCACHE})
endif()

find_program(T2V_MOLD mold)
find_program(T2V_LLD ld.lld)
if(T2V_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(T2V_LLD)
  add_link_options(-fuse-ld=lld)
endif()
