// SPDX-License-Identifier: Apache-2.0
// A job file: one video a line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/invocation.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

struct Job {
  int64_t number = 0;            ///< of the line, from 1
  cli::Invocation invocation;    ///< a generate invocation; what its --from names is not read yet
  std::string id;                ///< of everything that was asked for, its output included
  std::optional<Error> problem;  ///< the line can't be run
};

/// Reads JOBS (a file, or "-" for standard input) over the options of the batch command. A bad line
/// becomes a job with a problem, as does one with a flag that is the whole command's; Error{bad_input} when the file
/// itself is bad, Error{usage} when outputs have no names.
std::vector<Job> read_jobs(const cli::Invocation& batch);

}  // namespace t2v::commands
