// SPDX-License-Identifier: Apache-2.0
// The one exception type of t2v and the exit codes it maps to.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "t2v/export.hpp"

namespace t2v {

/// What went wrong, by who can do something about it. The value is the program's exit code.
enum class ErrorCode : int {
  internal = 1,       ///< a bug of ours
  usage = 2,          ///< the request itself is wrong (flag, value, combination)
  bad_input = 3,      ///< a model or input file is missing or bad
  unsupported = 4,    ///< well formed, but this engine or this model family can't do it
  no_resource = 5,    ///< out of memory, or no such device
  output = 6,         ///< the output could not be written
  numbers = 7,        ///< NaN or Inf appeared in the computation
  batch_partial = 8,  ///< some jobs of a batch failed
  interrupted = 130,  ///< SIGINT
  pipe_closed = 141,  ///< the reader of standard output went away
  terminated = 143,   ///< SIGTERM
};

/// Message form: `what: where: wanted, got`; the hint is one sentence saying what to do, or empty.
class T2V_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, std::string hint = {})
      : std::runtime_error(message), code_(code), hint_(std::move(hint)) {}
  ErrorCode code() const noexcept { return code_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  ErrorCode code_;
  std::string hint_;
};

constexpr int exit_code(ErrorCode code) noexcept { return static_cast<int>(code); }

}  // namespace t2v
