// SPDX-License-Identifier: Apache-2.0
// The state of an unfinished run, in a file beside its output: --checkpoint-every writes it, --resume continues from
// it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "cli/invocation.hpp"
#include "io/config.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

/// A state and what it says about its run.
struct UnfinishedRun {
  std::filesystem::path file;
  RunState state;
  io::Json about;  ///< see about_run()
};

/// The record in the file: version, model hash, seed, all options as the user gave them, the folder they were given in,
/// content ids of the input files, and the settings that `t2v info` shows.
io::Json about_run(const cli::Invocation& invocation, const Plan& plan, const ModelInfo& model);

/// Error{bad_input} when the file is no state, Error{unsupported} when another version of t2v wrote it.
UnfinishedRun read_unfinished_run(const std::filesystem::path& file);

/// The run's own command line, under the flags of `asked` that may change without changing the result (where and how to
/// write, what to print). Error{usage} for other flags, Error{bad_input} when an input file has changed.
cli::Invocation resumed_invocation(const cli::Invocation& asked, const UnfinishedRun& run);

/// Error{bad_input} unless the model is the one that the run began with.
void require_same_model(const UnfinishedRun& run, const ModelInfo& model);
bool has_same_first_frame(const UnfinishedRun& run, const ModelInfo& image_model);
void require_same_first_frame(const UnfinishedRun& run, const ModelInfo& image_model);

/// The state that an earlier try of the same job left at `file`, with the job's seed; nothing when there is none that
/// fits.
std::optional<UnfinishedRun> earlier_try(const std::filesystem::path& file, const cli::Invocation& job,
                                         const ModelInfo& model);
int64_t seed_of(const UnfinishedRun& run);

}  // namespace t2v::commands
