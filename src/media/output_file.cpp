// SPDX-License-Identifier: Apache-2.0
#include "media/output_file.hpp"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t2v/error.hpp"

namespace t2v::media {

namespace {

/// Holds back the signals that a failing write() raises in its own thread, so that the error code
/// is all that is left of them. A signal that was pending before stays pending.
class WriteSignalGuard {
 public:
  WriteSignalGuard() noexcept {
    sigemptyset(&held_);
    sigaddset(&held_, SIGPIPE);
    sigaddset(&held_, SIGXFSZ);
    sigset_t pending;
    sigpending(&pending);
    for (const int signal : {SIGPIPE, SIGXFSZ}) {
      if (sigismember(&pending, signal)) sigdelset(&held_, signal);
    }
    pthread_sigmask(SIG_BLOCK, &held_, &before_);
  }
  ~WriteSignalGuard() {
    const int error = errno;
    const timespec now{};
    while (sigtimedwait(&held_, nullptr, &now) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }
  WriteSignalGuard(const WriteSignalGuard&) = delete;
  WriteSignalGuard& operator=(const WriteSignalGuard&) = delete;

 private:
  sigset_t held_, before_;
};

bool is_device_or_pipe(const std::filesystem::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

std::string hint_for(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return "free some space, or write to another folder";
    case EFBIG: return "the file size limit of this process or file system was reached";
    default: return {};
  }
}

/// Returns the count, or -errno.
int write_all(int fd, std::span<const uint8_t> bytes) noexcept {
  const WriteSignalGuard guard;
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? -errno : -EIO;
    done += static_cast<size_t>(count);
  }
  return static_cast<int>(bytes.size());
}

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& path, bool overwrite) {
  where_ = path == "-" ? "standard output" : path.string();
  if (path == "-") {
    stream_fd_ = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
  } else if (is_device_or_pipe(path)) {
    stream_fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    atomic_.emplace(path, overwrite ? io::IfExists::replace : io::IfExists::refuse);
    return;
  }
  if (stream_fd_ < 0) fail(errno);
  if (isatty(stream_fd_)) {
    ::close(std::exchange(stream_fd_, -1));
    throw Error(ErrorCode::usage, "--output: " + where_ + ": wanted a file or a pipe, got a terminal",
                "pipe it into another program, or give a file name with -o");
  }
}

OutputFile::~OutputFile() {
  if (stream_fd_ >= 0) ::close(stream_fd_);
}

void OutputFile::fail(int error) const {
  if (!atomic_ && error == EPIPE) {
    throw Error(ErrorCode::pipe_closed, "can't write: " + where_ + ": the reader went away");
  }
  throw Error(ErrorCode::output, "can't write: " + where_ + ": " + std::generic_category().message(error),
              hint_for(error));
}

void OutputFile::write(std::span<const uint8_t> bytes) {
  if (try_write(bytes) < 0) rethrow();
}

void OutputFile::write(std::string_view text) {
  write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

int OutputFile::try_write(std::span<const uint8_t> bytes) noexcept {
  const int code = write_all(fd(), bytes);
  if (code < 0 && kept_error_ == 0) kept_error_ = -code;
  return code;
}

int64_t OutputFile::try_seek(int64_t offset, int whence) noexcept {
  const off_t position = ::lseek(fd(), offset, whence);
  if (position >= 0) return position;
  if (kept_error_ == 0) kept_error_ = errno;
  return -errno;
}

int64_t OutputFile::try_size() noexcept {
  struct stat info {};
  return ::fstat(fd(), &info) == 0 ? info.st_size : -errno;
}

void OutputFile::rethrow() const {
  if (kept_error_ != 0) fail(kept_error_);
}

void OutputFile::commit() {
  rethrow();
  if (atomic_) {
    atomic_->commit();
    return;
  }
  // A network file system may tell only now that the data did not fit; for standard output this
  // closes our duplicate.
  if (::close(std::exchange(stream_fd_, -1)) != 0) fail(errno);
}

int open_unnamed_file(const std::filesystem::path& folder) {
  const std::filesystem::path place = folder.empty() ? std::filesystem::path(".") : folder;
  const int fd = ::open(place.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  // File systems without O_TMPFILE (NFS, some FUSE): a named file, unlinked at once.
  std::string name = (place / ".t2v-spool-XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named < 0) {
    throw Error(ErrorCode::output,
                place.string() + ": can't create a temporary file: " + std::generic_category().message(errno));
  }
  ::unlink(name.c_str());
  return named;
}

void write_spool(int fd, std::span<const uint8_t> bytes, const std::string& where) {
  if (const int code = write_all(fd, bytes); code < 0) {
    throw Error(ErrorCode::output,
                "can't write: temporary file of " + where + ": " + std::generic_category().message(-code),
                hint_for(-code));
  }
}

}  // namespace t2v::media
