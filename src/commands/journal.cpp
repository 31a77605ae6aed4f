// SPDX-License-Identifier: Apache-2.0
#include "commands/journal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

#include "cli/preflight.hpp"
#include "commands/content_id.hpp"
#include "commands/settings.hpp"
#include "core/log.hpp"
#include "io/config.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string owner_text() { return std::to_string(getpid()) + " " + host_name() + "\n"; }

/// A claim of a process of this machine that is gone.
bool is_stale(const fs::path& claim) {
  std::ifstream in(claim);
  int64_t process = 0;
  std::string host;
  if (!(in >> process >> host)) return false;  // being written, or of a foreign hand
  return host == host_name() && kill(static_cast<pid_t>(process), 0) == -1 && errno == ESRCH;
}

/// A pattern of frames is known by its first file.
std::string output_content_id(const std::string& output) {
  std::string id = file_content_id(cli::frame_path(output, 0));
  return id.empty() ? file_content_id(cli::frame_path(output, 1)) : id;
}

}  // namespace

Journal::Journal(const std::string& jobs, bool resume) {
  if (jobs == "-") {
    if (resume) throw Error(ErrorCode::usage, "--resume: wanted a job file, got standard input");
    return;
  }
  file_ = jobs + ".journal.jsonl";
  claims_ = jobs + ".claims";
  std::error_code problem;
  const auto size = fs::file_size(file_, problem);
  if (!resume && !problem) read_to_ = static_cast<int64_t>(size);
}

Journal::~Journal() {
  std::error_code ignored;
  if (!claims_.empty()) fs::remove(claims_, ignored);  // only when empty
}

Journal::Claim::~Claim() {
  std::error_code ignored;
  if (!file_.empty()) fs::remove(file_, ignored);
}

void Journal::read_new_records() {
  std::ifstream in(file_, std::ios::binary);
  if (!in) return;
  in.seekg(read_to_);
  std::string line;
  while (std::getline(in, line)) {
    if (in.eof()) break;  // no line end yet: torn, or being written
    read_to_ += static_cast<int64_t>(line.size()) + 1;
    try {
      const io::Json record = io::parse_json(line, file_.filename().string());
      if (record.value("status", "") == "done")
        done_[record.value("id", "")] = record.value("content", "");
    } catch (const std::exception& error) {
      log::warn("{}: a record can't be read and is passed over: {}", file_.string(), error.what());
    }
  }
}

bool Journal::is_done(const std::string& id, const std::string& output) {
  if (file_.empty()) return false;
  read_new_records();
  const auto found = done_.find(id);
  return found != done_.end() && !found->second.empty() &&
         found->second == output_content_id(output);
}

void Journal::record_done(const std::string& id, const std::string& output) {
  if (file_.empty()) return;
  const io::Json record{
      {"id", id}, {"status", "done"}, {"output", output}, {"content", output_content_id(output)}};
  // A line end first where a killed process left half a record: its torn line stays alone.
  std::string text = settings_text(record) + "\n";
  const int file = open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file >= 0) {
    char last = '\n';
    const off_t size = lseek(file, 0, SEEK_END);
    if (size > 0 && pread(file, &last, 1, size - 1) == 1 && last != '\n') text.insert(0, 1, '\n');
  }
  // One write of a short line with O_APPEND: processes do not mix their records.
  const bool is_written =
      file >= 0 && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
      fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) close(file);
  if (!is_written) {
    throw Error(ErrorCode::output,
                file_.string() + ": wanted to append a record, got: " + std::strerror(reason));
  }
}

bool Journal::try_claim(const std::string& id, std::unique_ptr<Claim>& claim) {
  if (claims_.empty()) return true;
  std::error_code problem;
  fs::create_directory(claims_, problem);
  const fs::path path = claims_ / id;
  for (int attempt = 0; attempt < 3; ++attempt) {
    fs::create_directory(claims_, problem);
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file >= 0) {
      const std::string owner = owner_text();
      [[maybe_unused]] const ssize_t ignored = write(file, owner.data(), owner.size());
      close(file);
      claim = std::make_unique<Claim>(path);
      return true;
    }
    if (errno == ENOENT) continue;  // another process removed the empty folder
    if (errno != EEXIST) {
      throw Error(ErrorCode::output,
                  path.string() + ": wanted to claim a job, got: " + std::strerror(errno));
    }
    if (!is_stale(path)) return false;
    // Renamed before it is removed: of two processes that see a stale claim, one wins.
    const fs::path aside = path.string() + ".stale-" + std::to_string(getpid());
    fs::rename(path, aside, problem);
    if (!problem) fs::remove(aside, problem);
  }
  return false;
}

}  // namespace t2v::commands
