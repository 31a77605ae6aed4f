# SentencePiece, static and without its trainer: target t2v::sentencepiece. The PyPI source archive 0.2.1 carries its own
# protobuf-lite and the few absl headers it uses; from 0.2.2 on these are fetched by git while configuring, which an
# offline build cannot do. Its own CMakeLists.txt changes global flags and adds install rules and tools, so the library's
# sources (SPM_SRCS with internal providers there) are listed here instead.
set(T2V_SENTENCEPIECE_DIR "" CACHE PATH "folder of the unpacked SentencePiece 0.2.1 source archive (default: what scripts/setup unpacked)")
set(spm_root "${T2V_SENTENCEPIECE_DIR}")
if(NOT spm_root)
  foreach(candidate IN LISTS T2V_DEPS_DIRS)
    if(EXISTS ${candidate}/sentencepiece)
      set(spm_root ${candidate}/sentencepiece)
      break()
    endif()
  endforeach()
endif()
if(EXISTS ${spm_root}/sentencepiece/src/sentencepiece_processor.h)
  set(spm_root ${spm_root}/sentencepiece)
endif()
if(NOT EXISTS ${spm_root}/src/sentencepiece_processor.h)
  message(FATAL_ERROR "SentencePiece sources not found: run scripts/setup, or set T2V_SENTENCEPIECE_DIR")
endif()

file(STRINGS ${spm_root}/VERSION.txt spm_version LIMIT_COUNT 1)
set(spm_config ${PROJECT_BINARY_DIR}/sentencepiece)
file(CONFIGURE OUTPUT ${spm_config}/config.h CONTENT
  "#define PACKAGE \"sentencepiece\"\n#define PACKAGE_STRING PACKAGE\n#define VERSION \"${spm_version}\"\n#define INSTALL_DATADIR \"\"\n")

set(spm_sources bpe_model char_model error filesystem model_factory model_interface normalizer sentencepiece_processor
  unigram_model util word_model builtin_pb/sentencepiece.pb builtin_pb/sentencepiece_model.pb)
list(TRANSFORM spm_sources PREPEND ${spm_root}/src/)
list(TRANSFORM spm_sources APPEND .cc)
file(GLOB spm_protobuf ${spm_root}/third_party/protobuf-lite/*.cc)

add_library(t2v_sentencepiece STATIC EXCLUDE_FROM_ALL ${spm_sources} ${spm_protobuf}
  ${spm_root}/third_party/absl/flags/flag.cc)
add_library(t2v::sentencepiece ALIAS t2v_sentencepiece)
target_include_directories(t2v_sentencepiece
  PRIVATE ${spm_config} ${spm_root} ${spm_root}/third_party ${spm_root}/third_party/absl ${spm_root}/src/builtin_pb
          ${spm_root}/third_party/protobuf-lite)
target_include_directories(t2v_sentencepiece SYSTEM INTERFACE ${spm_root}/src)
target_compile_definitions(t2v_sentencepiece PRIVATE HAVE_PTHREAD=1 _USE_INTERNAL_STRING_VIEW)
target_compile_options(t2v_sentencepiece PRIVATE -w)
set_target_properties(t2v_sentencepiece PROPERTIES CXX_STANDARD 17 CXX_CLANG_TIDY "")
target_link_libraries(t2v_sentencepiece PUBLIC Threads::Threads)
