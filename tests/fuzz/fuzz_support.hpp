// SPDX-License-Identifier: Apache-2.0
// What fuzz targets share: readers may refuse an input only with Error{bad_input}; anything else is
// a finding.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <spdlog/spdlog.h>

#include "io/tensor_file.hpp"
#include "t2v/error.hpp"

namespace t2v::fuzz {

template <typename Action>
void expect_clean(const Action& action) {
  spdlog::set_level(spdlog::level::off);
  try {
    action();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
  }
}

/// The bytes as a file, in memory only.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0 || write(fd_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

/// Opens the bytes by content and touches both ends of every tensor; extents must fit what shape
/// and strides reach.
inline void open_and_touch(const uint8_t* data, size_t size) {
  const MemoryFile memory(data, size);
  const auto file = io::open_tensor_file(memory.path());
  unsigned sum = 0;
  for (const auto& [name, view] : file->tensors()) {
    __int128 reach = 1;
    for (size_t i = 0; i < view.shape.size(); ++i) {
      if (view.shape[i] < 0) std::abort();
      if (view.shape[i] == 0) reach = 0;
      if (reach == 0) break;
      if (view.strides.empty()) {
        reach *= view.shape[i];
      } else {
        reach += static_cast<__int128>(view.shape[i] - 1) * view.strides[i];
      }
    }
    if (reach * io::dtype_size(view.dtype) != static_cast<__int128>(view.bytes.size()))
      std::abort();
    if (!view.bytes.empty())
      sum += std::to_integer<unsigned>(view.bytes.front()) +
             std::to_integer<unsigned>(view.bytes.back());
  }
  volatile unsigned keep = sum;
  static_cast<void>(keep);
}

}  // namespace t2v::fuzz
