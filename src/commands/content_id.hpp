// SPDX-License-Identifier: Apache-2.0
// A short name for content: 128 bits of FNV-1a (draft-eastlake-fnv). Tells jobs and files apart; no
// defence against forgery.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::commands {

class ContentId {
 public:
  void add(std::string_view bytes) {
    __extension__ using Wide = unsigned __int128;
    constexpr Wide kPrime = (Wide{1} << 88) + 0x13B;
    Wide state = (Wide{high_} << 64) | low_;
    for (const char c : bytes) {
      state ^= static_cast<unsigned char>(c);
      state *= kPrime;
    }
    high_ = static_cast<uint64_t>(state >> 64);
    low_ = static_cast<uint64_t>(state);
  }
  std::string text() const {
    constexpr char kHex[] = "0123456789abcdef";
    std::string out;
    for (const uint64_t word : {high_, low_}) {
      for (int shift = 60; shift >= 0; shift -= 4) out += kHex[(word >> shift) & 15];
    }
    return out;
  }

 private:
  uint64_t high_ = 0x6c62272e07bb0142, low_ = 0x62b821756295c58d;  // offset basis
};

/// Of a file's bytes; empty when it can't be read.
inline std::string file_content_id(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return {};
  ContentId id;
  std::vector<char> block(size_t{1} << 16);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0) {
    id.add({block.data(), static_cast<size_t>(in.gcount())});
  }
  return id.text();
}

}  // namespace t2v::commands
