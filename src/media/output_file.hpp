// SPDX-License-Identifier: Apache-2.0
// The bytes of one output: a temporary file that takes its final name in commit(), standard output,
// or a device or pipe that already exists (written to directly). Every error of the system comes
// back as Error{output} (Error{pipe_closed} when the reader of standard output went away); SIGPIPE
// and SIGXFSZ of our own writes never reach the process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/atomic_file.hpp"

namespace t2v::media {

/// Not thread-safe. May be used by another thread than the one that opened it.
class OutputFile {
 public:
  /// "-" is standard output. Throws Error{output} when the place is not writable or the file exists
  /// and `overwrite` is false; Error{usage} when standard output is a terminal.
  OutputFile(const std::filesystem::path& path, bool overwrite);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  bool seekable() const { return atomic_.has_value(); }
  const std::string& where() const { return where_; }  ///< name for messages

  void write(std::span<const uint8_t> bytes);
  void write(std::string_view text);

  /// For libav's callbacks: no exceptions, negative errno on failure; the failure is also kept for
  /// rethrow().
  int try_write(std::span<const uint8_t> bytes) noexcept;
  int64_t try_seek(int64_t offset, int whence) noexcept;
  int64_t try_size() noexcept;
  int fd() const { return atomic_ ? atomic_->fd() : stream_fd_; }

  /// Throws the first failure that a try_ function kept.
  void rethrow() const;
  /// Flushes to the disk and renames. Nothing is under the final name before.
  void commit();

 private:
  [[noreturn]] void fail(int error) const;

  std::string where_;
  std::optional<io::AtomicFile> atomic_;  ///< absent: standard output, a device or a pipe
  int stream_fd_ = -1;                    ///< of those
  int kept_error_ = 0;
};

/// An unnamed temporary file in `folder` (else in the system's): spool space that no crash leaves
/// behind.
int open_unnamed_file(const std::filesystem::path& folder);

/// Appends to such a file; errors name the output it serves.
void write_spool(int fd, std::span<const uint8_t> bytes, const std::string& where);

}  // namespace t2v::media
