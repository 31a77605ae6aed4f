// SPDX-License-Identifier: Apache-2.0
// Who works on what: a file a job, made by the process that works on it. Several processes share a folder of them, on a
// network file system too: nothing here rests on file locks.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace t2v::commands {

/// Held while a process works; gone with the process that holds it.
class Claim {
 public:
  explicit Claim(std::filesystem::path file) : file_(std::move(file)) {}
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim();

 private:
  std::filesystem::path file_;
};

/// Null when a living process has it. A claim of a dead process of this machine is taken over by exactly one.
/// Error{output} when the folder can't be written.
std::unique_ptr<Claim> try_claim(const std::filesystem::path& file);

/// Removes what killed processes left, of claiming itself and of jobs that are done, and the folder once it is empty.
void sweep_claims(const std::filesystem::path& folder, const std::function<bool(const std::string&)>& is_done);

}  // namespace t2v::commands
