// SPDX-License-Identifier: Apache-2.0
// libav reads and writes through our own file descriptors: its errors are ours, a muxer's second
// pass (faststart) reads the same descriptor back, and no (de)muxer can open anything else.
#pragma once

#include <filesystem>
#include <functional>
#include <span>

#include "media/av.hpp"
#include "media/output_file.hpp"

namespace t2v::media {

/// Attaches `file` to a muxer. Lives as long as the context writes.
class AvioOutput {
 public:
  /// With `filter`, the muxer's bytes go through it instead, in order and without seeking. It
  /// returns a count or -errno.
  using Filter = std::function<int(std::span<const uint8_t>)>;
  AvioOutput(AVFormatContext* context, OutputFile& file, Filter filter = {});
  ~AvioOutput();
  AvioOutput(const AvioOutput&) = delete;
  AvioOutput& operator=(const AvioOutput&) = delete;

  /// Flushes libav's buffer and throws any error seen so far.
  void flush();

 private:
  static int write_bytes(void* self, AvioWriteBytes bytes, int count);
  static int64_t seek(void* self, int64_t offset, int whence);

  AVIOContext* io_ = nullptr;
  OutputFile* file_;
  Filter filter_;
};

/// A read-only file that a demuxer reads.
class AvioInput {
 public:
  /// Throws Error{bad_input} when it can't be opened or is not a regular file.
  explicit AvioInput(const std::filesystem::path& path);
  ~AvioInput();
  AvioInput(const AvioInput&) = delete;
  AvioInput& operator=(const AvioInput&) = delete;

  /// Reads the container's header, once. Throws Error{bad_input} for what is no video or picture by itself: a playlist
  /// or the description of a stream is refused by its format's name before libav acts on it. Must outlive what it
  /// returns.
  UniqueInputContext open_container();

 private:
  using Format = decltype(AVFormatContext::iformat);  // const or not, as this libavformat has it
  Format recognise();

  std::string where_;
  int fd_ = -1;
  AVIOContext* io_ = nullptr;
};

}  // namespace t2v::media
