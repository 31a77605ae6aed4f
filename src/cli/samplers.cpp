// SPDX-License-Identifier: Apache-2.0
#include "cli/samplers.hpp"

#include <array>
#include <vector>

#include "core/text.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

namespace {

constexpr std::array kSamplers{
    SamplerName{"ddpm", "DDPMScheduler", "ancestral sampling of the training process; wants many steps"},
    SamplerName{"ddim", "DDIMScheduler", "deterministic at eta 0; the usual choice of early video models", true},
    SamplerName{"pndm", "PNDMScheduler", "pseudo linear multistep"},
    SamplerName{"euler", "EulerDiscreteScheduler", "first order, deterministic"},
    SamplerName{"euler_a", "EulerAncestralDiscreteScheduler", "first order, fresh noise each step"},
    SamplerName{"heun", "HeunDiscreteScheduler", "second order, two network calls a step"},
    SamplerName{"dpm2", "KDPM2DiscreteScheduler", "second order by a midpoint, two network calls a step"},
    SamplerName{"dpm2_a", "KDPM2AncestralDiscreteScheduler", "dpm2 with fresh noise each step"},
    SamplerName{"dpmpp_2m", "DPMSolverMultistepScheduler", "second order multistep; good in 20 to 30 steps"},
    SamplerName{"dpmpp_2m_sde", "DPMSolverMultistepScheduler", "the same with fresh noise each step"},
    SamplerName{"dpmpp_sde", "DPMSolverSDEScheduler", "second order stochastic, two network calls a step"},
    SamplerName{"unipc", "UniPCMultistepScheduler", "predictor and corrector; good in 10 to 20 steps"},
    SamplerName{"lcm", "LCMScheduler", "for consistency-distilled weights, 1 to 8 steps"},
    SamplerName{"tcd", "TCDScheduler", "for trajectory-consistency weights, any number of steps", true},
    SamplerName{"deis", "DEISMultistepScheduler", "exponential integrator, multistep"},
    SamplerName{"lms", "LMSDiscreteScheduler", "linear multistep"},
    SamplerName{"flow_euler", "FlowMatchEulerDiscreteScheduler", "for flow-matching models"},
    SamplerName{"flow_unipc", "UniPCMultistepScheduler", "UniPC for flow-matching models"},
};

/// Names that other tools use.
struct OtherName {
  std::string_view other, name;
};
constexpr std::array kOtherNames{
    OtherName{"euler_ancestral", "euler_a"},  OtherName{"dpm++2m", "dpmpp_2m"},    OtherName{"dpm++_2m", "dpmpp_2m"},
    OtherName{"dpm++2m_sde", "dpmpp_2m_sde"}, OtherName{"dpm++_sde", "dpmpp_sde"}, OtherName{"uni_pc", "unipc"},
};

std::string plain(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = c == '-' ? '_' : (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  return out;
}

}  // namespace

std::span<const SamplerName> sampler_names() { return kSamplers; }

std::string parse_sampler(std::string_view label, std::string_view text) {
  std::vector<std::string> known;
  for (const auto& sampler : kSamplers) {
    if (plain(text) == sampler.name || text == sampler.class_name) return std::string(sampler.name);
    known.emplace_back(sampler.name);
  }
  for (const auto& row : kOtherNames) {
    if (plain(text) == row.other) return std::string(row.name);
  }
  throw Error(ErrorCode::usage,
              std::string(label) + ": wanted one of " + join(known, " ") + ", got '" + std::string(text) + "'",
              closest(text, known) ? did_you_mean(text, known) : "t2v --list-samplers says what each is for");
}

}  // namespace t2v::cli
