// SPDX-License-Identifier: Apache-2.0
#include "commands/journal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
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

/// Of a pattern, every frame counts, in order: one that is missing or changed makes another id.
std::string output_content_id(const std::string& output) {
  if (!cli::is_frame_pattern(output)) return file_content_id(output);
  ContentId all;
  for (int64_t frame = 0;; ++frame) {
    const std::string id = file_content_id(cli::frame_path(output, frame));
    if (id.empty()) return frame == 0 ? std::string{} : all.text();
    all.add(id);
  }
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
  if (claims_.empty()) return;
  try {
    read_new_records();
    sweep_claims(claims_, [this](const std::string& id) { return done_.contains(id); });
  } catch (const std::exception& error) {
    log::debug("{}: {}", claims_.string(), error.what());
  }
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
      const std::string id = record.value("id", ""), status = record.value("status", "");
      if (status == "begun" || status == "done") begun_.insert(id);
      if (status == "done") done_[id] = record.value("content", "");
    } catch (const std::exception& error) {
      log::warn("{}: a record can't be read and is passed over: {}", file_.string(), error.what());
    }
  }
}

bool Journal::is_done(const std::string& id, const std::string& output) {
  if (file_.empty()) return false;
  read_new_records();
  const auto found = done_.find(id);
  return found != done_.end() && !found->second.empty() && found->second == output_content_id(output);
}

void Journal::record_begun(const std::string& id, const std::string& output) {
  append(settings_text({{"id", id}, {"status", "begun"}, {"output", output}}));
}

void Journal::record_done(const std::string& id, const std::string& output) {
  if (file_.empty()) return;
  append(settings_text({{"id", id}, {"status", "done"}, {"output", output}, {"content", output_content_id(output)}}));
}

void Journal::append(const std::string& record) {
  if (file_.empty()) return;
  // A line end first where a killed process left half a record: its torn line stays alone.
  std::string text = record + "\n";
  const int file = open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file >= 0) {
    char last = '\n';
    const off_t size = lseek(file, 0, SEEK_END);
    if (size > 0 && pread(file, &last, 1, size - 1) == 1 && last != '\n') text.insert(0, 1, '\n');
  }
  // One write of a short line with O_APPEND: processes do not mix their records.
  const bool is_written =
      file >= 0 && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) close(file);
  if (!is_written) {
    throw Error(ErrorCode::output, file_.string() + ": wanted to append a record, got: " + std::strerror(reason));
  }
}

bool Journal::try_claim(const std::string& id, std::unique_ptr<Claim>& claim) {
  if (claims_.empty()) return true;
  claim = commands::try_claim(claims_ / id);
  return claim != nullptr;
}

}  // namespace t2v::commands
