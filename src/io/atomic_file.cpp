// SPDX-License-Identifier: Apache-2.0
#include "io/atomic_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <random>
#include <system_error>
#include <utility>

#include "t2v/error.hpp"

namespace t2v::io {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameBytes = 255;  // NAME_MAX of every file system in use
constexpr std::string_view kTempSuffix = ".part";

// The paths that unlink_all_temporaries() may touch from a signal handler: plain C strings behind
// atomics.
std::array<std::atomic<const char*>, 256> live_temporaries{};

int remember(const fs::path& temp) {
  for (size_t i = 0; i < live_temporaries.size(); ++i) {
    const char* free_slot = nullptr;
    if (live_temporaries[i].load() != nullptr) continue;
    char* copy = strdup(temp.c_str());
    if (live_temporaries[i].compare_exchange_strong(free_slot, copy)) return static_cast<int>(i);
    free(copy);
  }
  return -1;  // the file is still removed by its destructor
}

[[noreturn]] void fail(const fs::path& file, const std::string& what, std::string hint = {}) {
  throw Error(ErrorCode::output, "can't write: " + file.string() + ": " + what, std::move(hint));
}

[[noreturn]] void fail_errno(const fs::path& file, const std::string& call, int error) {
  std::string hint;
  if (error == ENOSPC || error == EDQUOT) hint = "free some space or choose another folder";
  if (error == EACCES || error == EROFS) hint = "choose a folder you may write to";
  fail(file, call + ": " + std::generic_category().message(error), hint);
}

/// Eight hex digits of machine and pid namespace: a pid says nothing about a process of another
/// one.
std::string host_tag() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  std::error_code ignored;
  const std::string text = host + fs::read_symlink("/proc/self/ns/pid", ignored).string();
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const unsigned char c : text) hash = (hash ^ c) * 16777619u;
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", hash);
  return digits;
}

/// `.<name>.` with the name cut so that the whole temporary name fits.
std::string temp_prefix(const fs::path& target) {
  constexpr size_t kRest = 48;  // dots, pid, tag, suffix
  std::string prefix = ".";
  prefix += std::string_view(target.filename().native()).substr(0, kMaxNameBytes - kRest);
  prefix += '.';
  return prefix;
}

/// The pid of `.<name>.<pid>-<tag><8 digits>.part` when that file was made on this machine, else 0.
pid_t owner_of(std::string_view name, std::string_view tag) {
  constexpr size_t kDigits = 8;
  if (!name.starts_with('.') || !name.ends_with(kTempSuffix)) return 0;
  name.remove_suffix(kTempSuffix.size());
  const size_t dash = name.rfind('-');
  if (dash == name.npos || name.size() != dash + 1 + tag.size() + kDigits) return 0;
  if (!name.substr(dash + 1).starts_with(tag)) return 0;
  const size_t dot = name.rfind('.', dash);  // there is one: the name begins with it
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data() + dot + 1, name.data() + dash, pid);
  return dot > 0 && error == std::errc() && end == name.data() + dash && pid > 0 ? pid : 0;
}

/// Whatever output they were for: the next run may have another one.
void remove_stale(const fs::path& folder, std::string_view tag) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const pid_t pid = owner_of(name, tag);
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) unlink(it->path().c_str());
  }
}

fs::path follow_links(fs::path target) {
  std::error_code error;
  for (int depth = 0; depth < 16 && fs::is_symlink(fs::symlink_status(target, error)); ++depth) {
    const fs::path link = fs::read_symlink(target, error);
    if (error) break;
    target = link.is_absolute() ? link : target.parent_path() / link;
  }
  return target;
}

fs::path folder_of(const fs::path& target) { return target.has_parent_path() ? target.parent_path() : fs::path("."); }

/// rename that fails with EEXIST instead of replacing.
int rename_new(const char* from, const char* to) {
#ifdef RENAME_NOREPLACE
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
#endif
  // File systems without the flag: link() has the same promise.
  if (link(from, to) == 0) return unlink(from);
  if (errno == EEXIST) return -1;
  struct stat info {};
  if (lstat(to, &info) == 0) {
    errno = EEXIST;
    return -1;
  }
  return rename(from, to);
}

[[noreturn]] void fail_exists(const fs::path& target) {
  fail(target, "wanted a new file, got one that exists", "pass --overwrite to replace it");
}

}  // namespace

void check_output_target(const fs::path& target, IfExists if_exists) {
  if (target.filename().empty() || target.filename() == "." || target.filename() == "..") {
    fail(target, "wanted a file name, got a folder");
  }
  if (target.filename().string().size() > kMaxNameBytes) {
    fail(target, "wanted a name of at most 255 bytes, got " + std::to_string(target.filename().string().size()));
  }
  struct stat info {};
  if (stat(target.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) fail(target, "wanted a file name, got a folder");
    if (!S_ISREG(info.st_mode)) {
      fail(target, "wanted a regular file, got a device, pipe or socket", "use '-' to write to standard output");
    }
    if (if_exists == IfExists::refuse) fail_exists(target);
  } else if (errno != ENOENT) {
    fail_errno(target, "stat", errno);
  }
  const fs::path folder = folder_of(target);
  if (stat(folder.c_str(), &info) != 0) {
    const int error = errno;
    if (error == ENOENT) fail(target, "the folder " + folder.string() + " does not exist", "create it first");
    fail_errno(folder, "stat", error);
  }
  if (!S_ISDIR(info.st_mode)) fail(target, folder.string() + " is not a folder");
}

AtomicFile::AtomicFile(const fs::path& target, IfExists if_exists)
    : target_(follow_links(target)), if_exists_(if_exists) {
  check_output_target(target_, if_exists_);
  const std::string prefix = temp_prefix(target_);
  const std::string tag = host_tag();
  const fs::path folder = folder_of(target_);
  remove_stale(folder, tag);
  std::random_device random;
  for (int attempt = 0; attempt < 16; ++attempt) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(random()));
    temp_ = folder / (prefix + std::to_string(getpid()) + "-" + tag + digits + std::string(kTempSuffix));
    fd_ = open(temp_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ >= 0 || errno != EEXIST) break;
  }
  if (fd_ < 0) fail_errno(target_, "open", errno);
  slot_ = remember(temp_);
}

AtomicFile::~AtomicFile() { discard(); }

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temp_(std::exchange(other.temp_, {})),
      if_exists_(other.if_exists_),
      fd_(std::exchange(other.fd_, -1)),
      slot_(std::exchange(other.slot_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    discard();
    target_ = std::move(other.target_);
    temp_ = std::exchange(other.temp_, {});
    if_exists_ = other.if_exists_;
    fd_ = std::exchange(other.fd_, -1);
    slot_ = std::exchange(other.slot_, -1);
  }
  return *this;
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_errno(target_, "write", errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::commit() {
  if (temp_.empty()) return;
  // EINVAL: a file system without fsync, which then has nothing to flush.
  if (fsync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP) fail_errno(target_, "fsync", errno);
  const int closed = close(std::exchange(fd_, -1));
  if (closed != 0 && errno != EINTR) fail_errno(target_, "close", errno);

  const int renamed = if_exists_ == IfExists::refuse ? rename_new(temp_.c_str(), target_.c_str())
                                                     : rename(temp_.c_str(), target_.c_str());
  if (renamed != 0) {
    const int error = errno;
    if (error == EEXIST && if_exists_ == IfExists::refuse) fail_exists(target_);
    const std::string kept = temp_.string();
    const bool is_there = access(kept.c_str(), F_OK) == 0;
    forget();
    if (!is_there) fail(target_, "rename: the folder went away: " + std::generic_category().message(error));
    fail(target_, "rename: " + std::generic_category().message(error),
         "the finished file is kept as " + kept + ": move it before the next run");
  }
  forget();
  const int folder = open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    fsync(folder);  // makes the new name durable; not every file system can
    close(folder);
  }
}

void AtomicFile::discard() noexcept {
  close_file();
  if (!temp_.empty()) unlink(temp_.c_str());
  forget();
}

void AtomicFile::close_file() noexcept {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

void AtomicFile::forget() noexcept {
  temp_.clear();
  if (slot_ < 0) return;
  const char* path = live_temporaries[static_cast<size_t>(slot_)].exchange(nullptr);
  free(const_cast<char*>(path));
  slot_ = -1;
}

void AtomicFile::unlink_all_temporaries() noexcept {
  for (auto& path : live_temporaries) {
    // Taken while it is used: another thread, which goes on until the process ends, may be about to free it.
    const char* name = path.exchange(nullptr);
    if (!name) continue;
    unlink(name);
    const char* empty = nullptr;
    path.compare_exchange_strong(empty, name);
  }
}

}  // namespace t2v::io
