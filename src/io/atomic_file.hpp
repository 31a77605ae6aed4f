// SPDX-License-Identifier: Apache-2.0
// A file that appears under its final name only when it is whole. The bytes go to a hidden file
// beside the target,
// `.<name>.<pid>-<tag>.part`; commit() flushes it to disk and renames it. Without commit() nothing
// remains.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace t2v::io {

enum class IfExists { refuse, replace };

/// Throws Error{output} from every member that can fail. Not thread-safe. Writers that open by name
/// (libav) use temp_path(); the others call write().
class AtomicFile {
 public:
  /// Creates the temporary file now, so an unwritable place fails before any work. Temporary files
  /// in the same folder whose process is dead are removed first. A symbolic link as target is
  /// followed.
  explicit AtomicFile(const std::filesystem::path& target, IfExists if_exists = IfExists::replace);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;

  const std::filesystem::path& target() const { return target_; }
  const std::filesystem::path& temp_path() const { return temp_; }
  int fd() const { return fd_; }

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// fsync, close, rename, fsync of the folder. With IfExists::refuse a target that appeared
  /// meanwhile is Error{output} and the temporary file is removed. When the rename itself fails,
  /// the temporary file is kept and named in the error, so that the work is not lost.
  void commit();
  void discard() noexcept;  ///< removes the temporary file; a no-op after commit()

  /// Unlinks the temporary files of all live AtomicFiles. Async-signal-safe: for handlers that end
  /// the process.
  static void unlink_all_temporaries() noexcept;

 private:
  void close_file() noexcept;
  void forget() noexcept;

  std::filesystem::path target_, temp_;
  IfExists if_exists_ = IfExists::replace;
  int fd_ = -1;
  int slot_ = -1;  ///< place in the table that unlink_all_temporaries() walks
};

/// Error{output} for a target that can't be written: exists (IfExists::refuse), is a folder or a
/// device, or its folder is missing. Creates nothing.
void check_output_target(const std::filesystem::path& target, IfExists if_exists);

}  // namespace t2v::io
