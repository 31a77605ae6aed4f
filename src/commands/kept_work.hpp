// SPDX-License-Identifier: Apache-2.0
// What a run leaves on disk so that nothing is lost: the denoised latents, and the command that makes the video of
// them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/invocation.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::commands {

/// A run that took this long is worth keeping, asked or not.
constexpr double kSecondsWorthKeeping = 60.0;

/// `out.mp4` -> `out.mp4.KIND.safetensors` beside it; for standard output `t2v-SEED.KIND.safetensors` in this folder.
std::filesystem::path kept_path(const cli::Invocation& invocation, int64_t seed, const std::string& kind);

/// Words as a POSIX shell takes them.
std::string shell_command(const std::vector<std::string>& words);
/// The `t2v decode` line that makes of `latents` what the run would have written.
std::string decode_command(const cli::Invocation& invocation, const std::filesystem::path& latents);
std::string resume_command(const std::filesystem::path& state);

/// Where `save` succeeded: at `wanted`, or under the same name in this folder or the system's temporary one, with a
/// warning. The last failure is thrown when all fail.
std::filesystem::path save_somewhere(const std::filesystem::path& wanted,
                                     const std::function<void(const std::filesystem::path&)>& save);

/// Latents that survive a failed second half of a run.
class SavedLatents {
 public:
  /// Writes them where --save-latents says, else beside the output when `is_worth_it` or --keep-latents is given.
  SavedLatents(const cli::Invocation& invocation, const Latents& latents, int64_t seed, bool is_worth_it);
  const std::filesystem::path& path() const { return path_; }  ///< empty: none
  /// Nobody will need them: the video is there, or its reader left.
  void drop_if_unasked() const;

 private:
  std::filesystem::path path_;
  bool is_asked_ = false;
};

}  // namespace t2v::commands
