// SPDX-License-Identifier: Apache-2.0
// Runs every fuzz target over its corpus, and over each file cut in half, as a test.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#define T2V_FUZZ_TARGET(name) extern "C" int fuzz_##name(const uint8_t* data, size_t size);
#include "targets.inc"
#undef T2V_FUZZ_TARGET

namespace {

namespace fs = std::filesystem;

void replay(const std::string& target, int (*run)(const uint8_t*, size_t)) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(T2V_TEST_DATA) / "fuzz/corpus" / target)) {
    SCOPED_TRACE(entry.path().string());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    EXPECT_NO_THROW(run(data, bytes.size()));
    EXPECT_NO_THROW(run(data, bytes.size() / 2));
    ++count;
  }
  EXPECT_GT(count, 0);
}

}  // namespace

#define T2V_FUZZ_TARGET(name) \
  TEST(FuzzReplay, the_corpus_is_survived_by_##name) { replay(#name, fuzz_##name); }
#include "targets.inc"
