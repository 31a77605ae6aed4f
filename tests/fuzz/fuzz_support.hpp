// SPDX-License-Identifier: Apache-2.0
// What fuzz targets share: readers may refuse an input only with an Error of the codes a target
// names, on one line; anything else is a finding.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>

#include <spdlog/spdlog.h>

#include "io/tensor_file.hpp"
#include "t2v/error.hpp"

namespace t2v::fuzz {

template <typename Action>
void expect_clean(const Action& action, std::initializer_list<ErrorCode> codes = {ErrorCode::bad_input}) {
  spdlog::set_level(spdlog::level::off);
  try {
    action();
  } catch (const Error& error) {
    if (std::ranges::find(codes, error.code()) == codes.end()) throw;
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
}

/// Aborts, which is a finding, where `fact` does not hold.
inline void require(bool fact) {
  if (!fact) std::abort();
}

/// Decisions drawn from the fuzzer's bytes; zeros when they are used up.
class Source {
 public:
  Source(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool is_empty() const { return size_ == 0; }
  uint8_t byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  size_t below(size_t count) { return byte() % count; }
  bool one_in(size_t count) { return below(count) == count - 1; }
  template <typename T>
  const T& pick(std::initializer_list<T> of) {
    return *(of.begin() + below(of.size()));
  }
  /// Mostly small; now and then at the edges of 16, 32 and 64 bits, or any.
  uint64_t number() {
    const uint8_t kind = byte();
    if (kind < 200) return kind % 9;
    const uint64_t power = uint64_t{1} << (byte() & 63);
    if (kind < 215) return power;
    if (kind < 230) return power - 1;
    uint64_t any = 0;
    for (int i = 0; i < 8; ++i) any = any << 8 | byte();
    return any;
  }
  std::string text(size_t longest) {
    const size_t length = std::min(below(longest + 1), size_);
    std::string out(reinterpret_cast<const char*>(data_), length);
    data_ += length;
    size_ -= length;
    return out;
  }
  /// What is left, up to the next byte of value `end`, which is dropped.
  std::string until(uint8_t end) {
    std::string out;
    while (size_ > 0) {
      const uint8_t next = byte();
      if (next == end) break;
      out += static_cast<char>(next);
    }
    return out;
  }
  std::string rest() {
    std::string out(reinterpret_cast<const char*>(data_), size_);
    size_ = 0;
    return out;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

/// A folder of this process, in memory where the machine has such a place. It is emptied by clear()
/// and removed at the end.
class FuzzFolder {
 public:
  FuzzFolder() {
    const char* base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    std::string name = std::string(base) + "/t2v-fuzz-XXXXXX";
    require(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void clear() const {
    for (const auto& entry : std::filesystem::directory_iterator(path_)) std::filesystem::remove_all(entry.path());
  }
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// The bytes as a file, in memory only.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    require(fd_ >= 0 && write(fd_, data, size) == static_cast<ssize_t>(size));
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
      require(view.shape[i] >= 0);
      if (view.shape[i] == 0) reach = 0;
      if (reach == 0) break;
      if (view.strides.empty()) {
        reach *= view.shape[i];
      } else {
        reach += static_cast<__int128>(view.shape[i] - 1) * view.strides[i];
      }
    }
    require(reach * io::dtype_size(view.dtype) == static_cast<__int128>(view.bytes.size()));
    if (!view.bytes.empty())
      sum += std::to_integer<unsigned>(view.bytes.front()) + std::to_integer<unsigned>(view.bytes.back());
  }
  volatile unsigned keep = sum;
  static_cast<void>(keep);
}

}  // namespace t2v::fuzz
