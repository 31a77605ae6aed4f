// SPDX-License-Identifier: Apache-2.0
#include "io/mmap_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "core/text.hpp"
#include "io/sigbus.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what, std::string hint = {}) {
  throw Error(ErrorCode::bad_input, "can't read: " + file.string() + ": " + what, std::move(hint));
}

class FileHandle {
 public:
  explicit FileHandle(const std::filesystem::path& file) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer; it means nothing for regular files.
    do {
      fd_ = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    } while (fd_ < 0 && errno == EINTR);
    if (fd_ < 0) fail(file, std::generic_category().message(errno));
    if (fstat(fd_, &info_) != 0) refuse(file, std::generic_category().message(errno));
    if (S_ISDIR(info_.st_mode)) refuse(file, "wanted a file, got a folder");
    if (!S_ISREG(info_.st_mode)) refuse(file, "wanted a regular file, got a device, pipe or socket");
  }
  ~FileHandle() { ::close(fd_); }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;

  int fd() const { return fd_; }
  size_t size() const { return static_cast<size_t>(info_.st_size); }
  int64_t modified_ns() const { return int64_t{info_.st_mtim.tv_sec} * 1'000'000'000 + info_.st_mtim.tv_nsec; }

 private:
  [[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
    ::close(fd_);
    fail(file, what);
  }

  int fd_ = -1;
  struct stat info_ {};
};

int advice_of(MmapFile::Access access) {
  switch (access) {
    case MmapFile::Access::sequential: return MADV_SEQUENTIAL;
    case MmapFile::Access::random: return MADV_RANDOM;
    case MmapFile::Access::normal: break;
  }
  return MADV_NORMAL;
}

}  // namespace

std::shared_ptr<const MmapFile> MmapFile::open(const std::filesystem::path& file, Access access) {
  const FileHandle handle(file);
  std::shared_ptr<MmapFile> mapped(new MmapFile);
  mapped->path_ = file.string();
  mapped->modified_ns_ = handle.modified_ns();
  if (handle.size() == 0) return mapped;
  void* address = mmap(nullptr, handle.size(), PROT_READ, MAP_PRIVATE, handle.fd(), 0);
  if (address == MAP_FAILED) {
    const int error = errno;
    if (error == ENOMEM) {
      throw Error(ErrorCode::no_resource,
                  "can't map: " + file.string() + ": wanted " + human_bytes(static_cast<int64_t>(handle.size())) +
                      " of address space, got none",
                  "raise the address space limit (ulimit -v)");
    }
    fail(file, "mmap: " + std::generic_category().message(error));
  }
  mapped->bytes_ = {static_cast<const std::byte*>(address), handle.size()};
  mapped->slot_ = watch_mapping(address, handle.size(), mapped->path_.c_str());
  if (access != Access::normal) mapped->advise(access);
  return mapped;
}

MmapFile::~MmapFile() {
  if (bytes_.empty()) return;
  forget_mapping(slot_);
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MmapFile::advise(Access access) const {
  if (!bytes_.empty()) madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), advice_of(access));
}

void MmapFile::prefetch(std::span<const std::byte> part) const {
  if (part.empty()) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t begin = address & ~(page - 1);
  madvise(reinterpret_cast<void*>(begin), address + part.size() - begin, MADV_WILLNEED);
}

void MmapFile::release(std::span<const std::byte> part) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(part.data()) + part.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

bool MmapFile::unchanged() const {
  struct stat info {};
  if (stat(path_.c_str(), &info) != 0) return false;
  return static_cast<size_t>(info.st_size) == bytes_.size() &&
         int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec == modified_ns_;
}

std::string read_file(const std::filesystem::path& file, size_t max_bytes) {
  const FileHandle handle(file);
  const auto refuse_size = [&](size_t size) {
    fail(file, "wanted at most " + human_bytes(static_cast<int64_t>(max_bytes)) + ", got " +
                   human_bytes(static_cast<int64_t>(size)));
  };
  if (handle.size() > max_bytes) refuse_size(handle.size());
  std::string text(handle.size(), '\0');
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = read(handle.fd(), text.data() + have, text.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(file, "read: " + std::generic_category().message(errno));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  text.resize(have);
  return text;
}

}  // namespace t2v::io
