// SPDX-License-Identifier: Apache-2.0
// Bytes -> the settings recorded in a PNG, GIF or WebP, read by parsers of ours. Other containers are
// libav's to read.
#include "fuzz_support.hpp"
#include "media/metadata.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const bool is_ours = bytes.starts_with("\x89PNG\r\n\x1a\n") || bytes.starts_with("GIF8") ||
                       (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP");
  if (!is_ours) return 0;
  static const t2v::fuzz::FuzzFolder folder;
  const auto file = folder.write("video", bytes);
  t2v::fuzz::expect_clean([&] {
    const auto text = t2v::media::read_metadata(file);
    t2v::fuzz::require(!text || text->size() <= bytes.size() * 4 + 64);
  });
  return 0;
}
