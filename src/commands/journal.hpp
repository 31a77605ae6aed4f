// SPDX-License-Identifier: Apache-2.0
// What became of the jobs of a batch, beside the job file: JOBS.journal.jsonl, a record for each job
// begun and done, and JOBS.claims/, one file a job that a process is working on. Both work for
// several processes on one folder, and after SIGKILL.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "commands/claims.hpp"

namespace t2v::commands {

class Journal {
 public:
  /// `jobs` is the job file; "-" keeps no journal. With `resume` the records of earlier runs count,
  /// else only those that other processes add from now on.
  Journal(const std::string& jobs, bool resume);

  /// The job is done and its output is still the file that was written.
  bool is_done(const std::string& id, const std::string& output);
  /// An earlier run began the job (or finished it, and the file was changed since): what stands under the output's name
  /// may be replaced.
  bool was_begun(const std::string& id) const { return begun_.contains(id); }
  /// Append a record and flush it to disk. Error{output}.
  void record_begun(const std::string& id, const std::string& output);
  void record_done(const std::string& id, const std::string& output);

  /// False when another living process has the job. `claim` is set otherwise, unless no journal is kept.
  bool try_claim(const std::string& id, std::unique_ptr<Claim>& claim);
  ~Journal();

 private:
  void read_new_records();
  void append(const std::string& record);

  std::filesystem::path file_, claims_;
  std::int64_t read_to_ = 0;                 ///< bytes of file_ that were read
  std::map<std::string, std::string> done_;  ///< job id -> content id of its output
  std::set<std::string> begun_;              ///< job ids
};

}  // namespace t2v::commands
