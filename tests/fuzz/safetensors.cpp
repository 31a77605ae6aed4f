// SPDX-License-Identifier: Apache-2.0
// Bytes -> safetensors reader. A header length that fits is forced half of the time, so that most
// inputs reach the parser.
#include <cstring>
#include <vector>

#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  t2v::fuzz::expect_clean([&] { t2v::fuzz::open_and_touch(data, size); });
  if (size > 9) {
    std::vector<uint8_t> fitted(data, data + size);
    const uint64_t header = (data[0] | data[1] << 8) % (size - 8);
    std::memcpy(fitted.data(), &header, sizeof header);
    t2v::fuzz::expect_clean([&] { t2v::fuzz::open_and_touch(fitted.data(), fitted.size()); });
  }
  return 0;
}
