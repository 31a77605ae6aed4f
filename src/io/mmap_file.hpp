// SPDX-License-Identifier: Apache-2.0
// Files as bytes: a read-only mapping for large ones, one read for small ones. Regular files only
// (symbolic links are followed: the Hugging Face cache is made of them).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace t2v::io {

/// Immutable; safe to share. The bytes live as long as the object. See sigbus.hpp for files that
/// shrink meanwhile.
class MmapFile {
 public:
  enum class Access { normal, sequential, random };

  /// Error{bad_input} when the file is missing, unreadable, or no regular file. An empty file gives
  /// empty bytes.
  static std::shared_ptr<const MmapFile> open(const std::filesystem::path& file, Access access = Access::normal);
  ~MmapFile();
  MmapFile(const MmapFile&) = delete;
  MmapFile& operator=(const MmapFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }
  void advise(Access access) const;
  /// Asks the kernel to read these bytes ahead.
  void prefetch(std::span<const std::byte> part) const;
  /// Lets the kernel take back the whole pages inside `part`; a later read brings them in again.
  static void release(std::span<const std::byte> part);
  /// False when the file's size or modification time differ from those at open().
  bool unchanged() const;

 private:
  MmapFile() = default;

  std::span<const std::byte> bytes_;
  std::string path_;
  int64_t modified_ns_ = 0;
  int slot_ = -1;
};

/// The whole file as text. Error{bad_input} as above, and when it holds more than `max_bytes`.
std::string read_file(const std::filesystem::path& file, size_t max_bytes);

}  // namespace t2v::io
