// SPDX-License-Identifier: Apache-2.0
// Bytes -> shard index. No accepted shard name may leave its folder.
#include "fuzz_support.hpp"
#include "io/shard_index.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  t2v::fuzz::expect_clean([&] {
    const std::string text(reinterpret_cast<const char*>(data), size);
    for (const auto& name : t2v::io::parse_shard_index(text, "fuzz").files) {
      const bool escapes =
          name.empty() || name == ".." || name == "." || name.find_first_of(std::string("/\\\0", 3)) != name.npos;
      if (escapes || std::filesystem::path(name).filename() != name) std::abort();
    }
  });
  return 0;
}
