// SPDX-License-Identifier: Apache-2.0
// What became of the jobs of a batch, beside the job file: JOBS.journal.jsonl, one record a
// finished job, and JOBS.claims/, one file a job that a process is working on. Both work for
// several processes on one folder, and after SIGKILL.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace t2v::commands {

class Journal {
 public:
  /// `jobs` is the job file; "-" keeps no journal. With `resume` the records of earlier runs count,
  /// else only those that other processes add from now on.
  Journal(const std::string& jobs, bool resume);

  /// The job is done and its output is still the file that was written.
  bool is_done(const std::string& id, const std::string& output);
  /// Appends a record and flushes it to disk. Error{output}.
  void record_done(const std::string& id, const std::string& output);

  /// Held while a process works on a job; gone with the process that holds it.
  class Claim {
   public:
    Claim() = default;
    explicit Claim(std::filesystem::path file) : file_(std::move(file)) {}
    Claim(Claim&& other) noexcept : file_(std::move(other.file_)) { other.file_.clear(); }
    Claim& operator=(Claim&&) = delete;
    ~Claim();

   private:
    std::filesystem::path file_;
  };
  /// False when another living process has the job. `claim` is set otherwise.
  bool try_claim(const std::string& id, std::unique_ptr<Claim>& claim);
  ~Journal();

 private:
  void read_new_records();

  std::filesystem::path file_, claims_;
  std::int64_t read_to_ = 0;                 ///< bytes of file_ that were read
  std::map<std::string, std::string> done_;  ///< job id -> content id of its output
};

}  // namespace t2v::commands
