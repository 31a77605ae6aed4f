// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_library.hpp"

#include <dlfcn.h>

#include <array>
#include <filesystem>
#include <string>

#include "t2v/error.hpp"

namespace t2v::cli {

namespace fs = std::filesystem;

int run_in_engine(const Invocation& invocation) {
  std::error_code problem;
  const fs::path folder = fs::read_symlink("/proc/self/exe", problem).parent_path();
  const std::array places{folder / "libt2v.so", folder / ".." / T2V_LIBRARY_DIR / "libt2v.so",
                          folder / ".." / "lib" / "libt2v.so"};
  for (const auto& place : places) {
    if (!fs::exists(place, problem)) continue;
    void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    const char* reason = library ? nullptr : dlerror();
    void* entry = library ? dlsym(library, "t2v_run") : nullptr;
    if (entry) return reinterpret_cast<decltype(&t2v_run)>(entry)(invocation);
    throw Error(ErrorCode::internal,
                "libt2v.so: " + place.string() + ": wanted the engine, got " + (reason ? reason : "another library"),
                "run scripts/setup again, or check the installation");
  }
  throw Error(ErrorCode::internal, "libt2v.so: wanted it beside t2v or in its library folder, got neither",
              "run scripts/setup again, or check the installation");
}

}  // namespace t2v::cli
