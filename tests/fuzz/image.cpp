// SPDX-License-Identifier: Apache-2.0
// Bytes -> guarded image decoder and PNG text reader.
#include "io/image.hpp"
#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  t2v::fuzz::expect_clean([&] {
    const auto image = t2v::io::decode_image(bytes, "fuzz");
    if (image.rgb.size() != static_cast<size_t>(image.width * image.height * 3)) std::abort();
  });
  t2v::fuzz::expect_clean([&] { t2v::io::png_text(bytes, "fuzz"); });
  return 0;
}
