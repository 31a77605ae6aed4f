// SPDX-License-Identifier: Apache-2.0
// Makers of good and malformed files, byte by byte: safetensors, zip archives, pickles.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace t2v::test {

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string safetensors_bytes(const std::string& header, const std::string& data = {}) {
  return raw<uint64_t>(header.size()) + header + data;
}

struct ZipEntry {
  std::string name, data;
  uint16_t method = 0;
  uint16_t flags = 0;
  bool zip64 = false;        ///< sizes and offset in the zip64 field
  int64_t forged_size = -1;  ///< in the central directory
  int64_t forged_offset = -1;
};

inline std::string zip_bytes(const std::vector<ZipEntry>& entries, int forged_count = -1) {
  std::string out, directory;
  for (const auto& e : entries) {
    const auto offset =
        static_cast<uint64_t>(e.forged_offset >= 0 ? e.forged_offset : static_cast<int64_t>(out.size()));
    const auto size = static_cast<uint64_t>(e.forged_size >= 0 ? e.forged_size : static_cast<int64_t>(e.data.size()));
    out += raw<uint32_t>(0x04034b50) + raw<uint16_t>(20) + raw(e.flags) + raw(e.method) + std::string(8, '\0') +
           raw(static_cast<uint32_t>(size)) + raw(static_cast<uint32_t>(size)) +
           raw(static_cast<uint16_t>(e.name.size())) + raw<uint16_t>(0) + e.name + e.data;
    const std::string extra = e.zip64 ? raw<uint16_t>(1) + raw<uint16_t>(24) + raw(size) + raw(size) + raw(offset) : "";
    const uint32_t shown_size = e.zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(size);
    const uint32_t shown_offset = e.zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(offset);
    directory += raw<uint32_t>(0x02014b50) + raw<uint16_t>(20) + raw<uint16_t>(20) + raw(e.flags) + raw(e.method) +
                 std::string(8, '\0') + raw(shown_size) + raw(shown_size) + raw(static_cast<uint16_t>(e.name.size())) +
                 raw(static_cast<uint16_t>(extra.size())) + std::string(10, '\0') + raw(shown_offset) + e.name + extra;
  }
  const auto count = static_cast<uint16_t>(forged_count >= 0 ? forged_count : static_cast<int>(entries.size()));
  return out + directory + raw<uint32_t>(0x06054b50) + raw<uint32_t>(0) + raw(count) + raw(count) +
         raw(static_cast<uint32_t>(directory.size())) + raw(static_cast<uint32_t>(out.size())) + raw<uint16_t>(0);
}

/// Pickle pieces, protocol 2.
inline std::string p_text(const std::string& text) { return "X" + raw(static_cast<uint32_t>(text.size())) + text; }
inline std::string p_int(int64_t value) { return "\x8a\x08" + raw(value); }
inline std::string p_tuple(const std::vector<std::string>& items) {
  std::string out = "(";
  for (const auto& item : items) out += item;
  return out + "t";
}
inline std::string p_ints(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(p_int(value));
  return p_tuple(items);
}
inline std::string p_storage(int64_t count, const std::string& type = "FloatStorage", const std::string& key = "0") {
  return p_tuple({p_text("storage"), "ctorch\n" + type + "\n", p_text(key), p_text("cpu"), p_int(count)}) + "Q";
}
inline std::string p_tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                            const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         p_tuple({storage, p_int(offset), p_ints(shape), p_ints(strides), "\x89", "ccollections\nOrderedDict\n)R"}) +
         "R";
}
inline std::string p_dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = "}(";
  for (const auto& [key, value] : items) out += p_text(key) + value;
  return out + "u";
}
inline std::string p_file(const std::string& value) { return "\x80\x02" + value + "."; }

/// A checkpoint with one storage "0" of `data`.
inline std::string torch_zip(const std::string& pickle, const std::string& data = std::string(16, '\0')) {
  return zip_bytes({{"archive/data.pkl", pickle}, {"archive/data/0", data}, {"archive/version", "3\n"}});
}

}  // namespace t2v::test
