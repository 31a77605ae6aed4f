// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over its corpus, and over each file cut in half, as a test.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include <gtest/gtest.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

TEST(FuzzReplay, the_corpus_is_survived) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(T2V_FUZZ_CORPUS)) {
    SCOPED_TRACE(entry.path().string());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    EXPECT_NO_THROW(LLVMFuzzerTestOneInput(data, bytes.size()));
    EXPECT_NO_THROW(LLVMFuzzerTestOneInput(data, bytes.size() / 2));
    ++count;
  }
  EXPECT_GT(count, 0);
}
