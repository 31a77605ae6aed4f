// SPDX-License-Identifier: Apache-2.0
// The samplers by name, for help and flag checks without libtorch. The samplers themselves are rows
// of sampling::scheduler_rows(); a test holds the two tables equal.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace t2v::cli {

struct SamplerName {
  std::string_view name;        ///< contract name: "dpmpp_2m"
  std::string_view class_name;  ///< diffusers class
  std::string_view about;
  bool takes_eta = false;  ///< --eta changes what it does
};

std::span<const SamplerName> sampler_names();
/// Contract name for a contract name, a diffusers class name or a name other tools use ("dpm++2m",
/// "euler_ancestral"). Throws Error{usage} that begins with `label`.
std::string parse_sampler(std::string_view label, std::string_view text);

}  // namespace t2v::cli
