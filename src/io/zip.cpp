// SPDX-License-Identifier: Apache-2.0
// Numbers below are of PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3 (zip64).
#include "io/zip.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "io/formats.hpp"
#include "io/json_error.hpp"

namespace t2v::io {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20;
constexpr uint64_t kMaxEntries = 120'000;
constexpr uint32_t kIn64 = 0xFFFFFFFF;  // "the value is in the zip64 field"

struct CentralEntry {
  std::string name;
  uint64_t offset = 0, size = 0;
};

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> file, const std::string& where) : file_(file), where_(where) {}

  std::map<std::string, std::span<const std::byte>, std::less<>> read() {
    find_directory();
    std::vector<CentralEntry> entries = read_directory();
    return locate(entries);
  }

 private:
  Error fail(const std::string& what, std::string hint = "the file is damaged: download it again") const {
    return bad_file(where_, "zip archive: " + what, std::move(hint));
  }

  template <typename T>
  T at(uint64_t offset) const {
    if (offset > file_.size() || file_.size() - offset < sizeof(T)) throw fail("a record past the end of the file");
    T value;
    std::memcpy(&value, file_.data() + offset, sizeof value);
    return value;
  }

  std::string text(uint64_t offset, size_t size) const {
    if (offset > file_.size() || file_.size() - offset < size) throw fail("a name past the end of the file");
    return {reinterpret_cast<const char*>(file_.data()) + offset, size};
  }

  /// The end record sits within the last 65557 bytes: 22 of its own and a comment.
  void find_directory() {
    const uint64_t lowest = file_.size() > kEndSize + 0xFFFF ? file_.size() - kEndSize - 0xFFFF : 0;
    uint64_t end = file_.size() < kEndSize ? 0 : file_.size() - kEndSize + 1;
    bool is_found = false;
    while (end > lowest && !is_found) {
      --end;
      is_found = at<uint32_t>(end) == kEnd && end + kEndSize + at<uint16_t>(end + 20) == file_.size();
    }
    if (!is_found) {
      throw fail("no end record: the file is cut short", "the download stopped early: download the file again");
    }
    count_ = at<uint16_t>(end + 10);
    directory_size_ = at<uint32_t>(end + 12);
    directory_ = at<uint32_t>(end + 16);
    const bool is_zip64 = end >= kLocatorSize && at<uint32_t>(end - kLocatorSize) == kEnd64Locator;
    uint64_t limit = end;
    if (is_zip64) {
      const auto end64 = at<uint64_t>(end - kLocatorSize + 8);
      if (end64 > end || end - end64 < kEnd64Size || at<uint32_t>(end64) != kEnd64)
        throw fail("a bad zip64 end record");
      count_ = at<uint64_t>(end64 + 32);
      directory_size_ = at<uint64_t>(end64 + 40);
      directory_ = at<uint64_t>(end64 + 48);
      limit = end64;
    }
    if (directory_ > limit || limit - directory_ < directory_size_)
      throw fail("its directory lies past the end of the file");
    if (count_ > kMaxEntries) throw fail("more than " + std::to_string(kMaxEntries) + " entries");
    if (count_ > directory_size_ / kCentralSize) throw fail("its directory is too small for its entries");
  }

  std::vector<CentralEntry> read_directory() const {
    std::vector<CentralEntry> entries;
    entries.reserve(static_cast<size_t>(count_));
    uint64_t offset = directory_;
    const uint64_t directory_end = directory_ + directory_size_;
    for (uint64_t i = 0; i < count_; ++i) {
      if (directory_end - offset < kCentralSize || at<uint32_t>(offset) != kCentralHeader)
        throw fail("a bad directory entry");
      const auto flags = at<uint16_t>(offset + 8);
      const auto method = at<uint16_t>(offset + 10);
      const uint64_t name_size = at<uint16_t>(offset + 28), extra_size = at<uint16_t>(offset + 30);
      const uint64_t entry_size = kCentralSize + name_size + extra_size + at<uint16_t>(offset + 32);
      if (directory_end - offset < entry_size) throw fail("a directory entry past the directory's end");
      CentralEntry entry{text(offset + kCentralSize, name_size), at<uint32_t>(offset + 42), at<uint32_t>(offset + 24)};
      uint64_t packed_size = at<uint32_t>(offset + 20);
      read_zip64_extra(offset + kCentralSize + name_size, extra_size, entry, packed_size);
      const std::string shown = "'" + printable(entry.name) + "'";
      if (flags & 1) throw fail(shown + " is encrypted", "save it without a password");
      if (method != 0) {
        throw fail(shown + " is compressed, wanted stored entries as torch.save writes them",
                   "load and save the file once with torch, or convert it to safetensors");
      }
      if (packed_size != entry.size) throw fail(shown + ": its two sizes differ");
      check_name(entry.name);
      entries.push_back(std::move(entry));
      offset += entry_size;
    }
    return entries;
  }

  void read_zip64_extra(uint64_t offset, uint64_t size, CentralEntry& entry, uint64_t& packed_size) const {
    const uint64_t end = offset + size;
    while (end - offset >= 4) {
      const auto id = at<uint16_t>(offset);
      const uint64_t field_size = at<uint16_t>(offset + 2);
      offset += 4;
      if (end - offset < field_size) throw fail("a bad extra field");
      if (id == 1) {
        uint64_t position = offset;
        for (uint64_t* value : {&entry.size, &packed_size, &entry.offset}) {
          if (*value != kIn64) continue;
          if (offset + field_size - position < 8) throw fail("a bad zip64 field");
          *value = at<uint64_t>(position);
          position += 8;
        }
      }
      offset += field_size;
    }
  }

  void check_name(const std::string& name) const {
    const bool climbs =
        name == ".." || name.starts_with("../") || name.ends_with("/..") || name.find("/../") != name.npos;
    if (name.empty() || name.front() == '/' || climbs || name.find('\0') != name.npos || name.find('\\') != name.npos) {
      throw fail("the entry name '" + printable(name) + "' is not a plain relative path");
    }
  }

  /// From directory entries to spans: the local header says where the data begins.
  std::map<std::string, std::span<const std::byte>, std::less<>> locate(std::vector<CentralEntry>& entries) const {
    std::sort(entries.begin(), entries.end(),
              [](const CentralEntry& a, const CentralEntry& b) { return a.offset < b.offset; });
    std::map<std::string, std::span<const std::byte>, std::less<>> spans;
    uint64_t previous_end = 0;
    for (const auto& entry : entries) {
      const std::string shown = "'" + printable(entry.name) + "'";
      if (entry.offset < previous_end) throw fail(shown + " overlaps another entry");
      if (entry.offset > directory_ || directory_ - entry.offset < kLocalSize ||
          at<uint32_t>(entry.offset) != kLocalHeader) {
        throw fail(shown + ": no local header");
      }
      const uint64_t begin =
          entry.offset + kLocalSize + at<uint16_t>(entry.offset + 26) + at<uint16_t>(entry.offset + 28);
      if (begin > directory_ || directory_ - begin < entry.size) throw fail(shown + " lies past the end of the file");
      previous_end = begin + entry.size;
      const auto span = file_.subspan(static_cast<size_t>(begin), static_cast<size_t>(entry.size));
      if (!spans.emplace(entry.name, span).second) throw fail(shown + " appears twice");
    }
    return spans;
  }

  std::span<const std::byte> file_;
  const std::string& where_;
  uint64_t count_ = 0, directory_ = 0, directory_size_ = 0;
};

}  // namespace

std::map<std::string, std::span<const std::byte>, std::less<>> read_zip(std::span<const std::byte> file,
                                                                        const std::string& where) {
  return ZipReader(file, where).read();
}

}  // namespace t2v::io
