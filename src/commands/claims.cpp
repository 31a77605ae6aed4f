// SPDX-License-Identifier: Apache-2.0
#include "commands/claims.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

/// When the process began, in ticks since the machine did: tells it from a later one with its number. 0: not known.
int64_t start_of(pid_t process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/stat");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  size_t at = text.rfind(')');  // the name before it may hold anything
  constexpr int kFieldsUntilStart = 20;
  for (int i = 0; i < kFieldsUntilStart && at != std::string::npos; ++i) at = text.find(' ', at + 1);
  int64_t start = 0;
  if (at != std::string::npos) std::from_chars(text.data() + at + 1, text.data() + text.size(), start);
  return start;
}

/// Machine and pid namespace: numbers of another one say nothing here.
std::string place() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  std::error_code ignored;
  return std::string(host.data()) + "/" + fs::read_symlink("/proc/self/ns/pid", ignored).string();
}

std::string owner_text() {
  return std::to_string(getpid()) + " " + std::to_string(start_of(getpid())) + " " + place() + "\n";
}

/// Nothing when there is no such file (any more).
std::optional<std::string> read_claim(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(in), {}};
}

bool is_of_the_dead(const std::string& claim) {
  pid_t process = 0;
  int64_t start = 0;
  const char* end = claim.data() + claim.size();
  const auto first = std::from_chars(claim.data(), end, process);
  if (first.ec != std::errc{} || first.ptr == end || process <= 0) return false;  // of a foreign hand
  const auto second = std::from_chars(first.ptr + 1, end, start);
  if (second.ec != std::errc{} || second.ptr == end || std::string(second.ptr + 1, end) != place() + "\n") return false;
  if (kill(process, 0) == -1 && errno == ESRCH) return true;
  const int64_t now = start_of(process);
  return start != 0 && now != 0 && now != start;
}

[[noreturn]] void fail(const fs::path& file) {
  throw Error(ErrorCode::output, file.string() + ": wanted to claim a job, got: " + std::strerror(errno));
}

/// A file with this process's name in it, whole before anybody can see it under the claim's name.
class OwnerFile {
 public:
  explicit OwnerFile(const fs::path& claim) : file_(claim.string() + ".of-" + std::to_string(getpid())) {
    const std::string text = owner_text();
    const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 && errno == ENOENT) return;  // another process removed the empty folder
    if (fd < 0) fail(file_);
    is_written_ = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int reason = errno;
    close(fd);
    errno = reason;
    if (!is_written_) {
      unlink(file_.c_str());
      errno = reason;
      fail(file_);
    }
  }
  ~OwnerFile() { unlink(file_.c_str()); }
  OwnerFile(const OwnerFile&) = delete;
  OwnerFile& operator=(const OwnerFile&) = delete;
  bool is_written() const { return is_written_; }
  const char* path() const { return file_.c_str(); }

 private:
  fs::path file_;
  bool is_written_ = false;
};

/// link() that fails with EEXIST; on file systems without links the second best, which a kill can leave empty.
bool link_or_make(const OwnerFile& own, const fs::path& file) {
  if (link(own.path(), file.c_str()) == 0) return true;
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return false;
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  const std::string text = owner_text();
  [[maybe_unused]] const ssize_t ignored = write(fd, text.data(), text.size());
  close(fd);
  return true;
}

bool acquire(const fs::path& file, int depth);

/// Of several processes that see the claim of a dead one, the holder of a second claim replaces it; it looks again
/// before, because the others may have been through already.
bool take_over(const fs::path& file, const std::string& stale, int depth) {
  const fs::path lock = file.string() + ".heir";
  if (!acquire(lock, depth + 1)) return false;
  const Claim held(lock);
  if (read_claim(file) != stale) return false;
  const OwnerFile own(file);
  return own.is_written() && rename(own.path(), file.c_str()) == 0;
}

bool acquire(const fs::path& file, int depth) {
  // Each heir that is killed in the middle leaves one more claim; the first that comes through takes all of them away.
  constexpr int kAttempts = 10, kDeepest = 32;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::error_code ignored;
    fs::create_directory(file.parent_path(), ignored);
    const OwnerFile own(file);
    if (!own.is_written()) continue;
    if (link_or_make(own, file)) return true;
    if (errno == ENOENT) continue;
    if (errno != EEXIST) fail(file);
    const auto claim = read_claim(file);
    if (!claim) continue;
    if (!is_of_the_dead(*claim) || depth == kDeepest) return false;
    if (take_over(file, *claim, depth)) return true;
  }
  return false;
}

}  // namespace

Claim::~Claim() {
  std::error_code ignored;
  fs::remove(file_, ignored);
}

void sweep_claims(const fs::path& folder, const std::function<bool(const std::string&)>& is_done) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const auto claim = read_claim(it->path());
    const std::string name = it->path().filename().string();
    const bool is_helper = name.find('.') != std::string::npos;
    // Without a name in it: its process was killed before it wrote one, or is about to; that one makes another.
    const bool is_dead = !claim || claim->empty() || is_of_the_dead(*claim);
    // Another process may be taking over the claim of a job that is still to do.
    if (is_dead && (is_helper || is_done(name))) unlink(it->path().c_str());
  }
  fs::remove(folder, error);  // only when empty
}

std::unique_ptr<Claim> try_claim(const fs::path& file) {
  return acquire(file, 0) ? std::make_unique<Claim>(file) : nullptr;
}

}  // namespace t2v::commands
