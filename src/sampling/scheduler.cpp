// SPDX-License-Identifier: Apache-2.0
// The one table of samplers, and what turns "this checkpoint's config, that sampler, these options"
// into the effective config a class is built from: diffusers' from_config with the user's choices
// as overrides.
#include "sampling/scheduler.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/text.hpp"
#include "sampling/samplers.hpp"
#include "sampling/sigmas.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

enum class Form {
  discrete,   ///< walks integer timesteps, has no sigma grid
  exploding,  ///< walks sigmas and knows the keys use_*_sigmas
  plain,      ///< walks sigmas, but its diffusers class has no such keys: they are ignored in a config
  log_snr,    ///< like exploding, and can follow a flow
  flow,       ///< straight lines from noise to sample
};

struct Row {
  SchedulerRow row;
  Form form;
  SchedulerFactory make;
  const char* algorithm_type = nullptr;  ///< the name alone settles this key, whatever the config says
  bool use_flow_sigmas = false;
};

constexpr std::array kRows = {
    Row{{"ddpm", "DDPMScheduler", "ancestral sampling of the trained chain; many steps"}, Form::discrete, make_ddpm},
    Row{{"ddim", "DDIMScheduler", "deterministic at eta 0; the reference for many checkpoints"},
        Form::discrete,
        make_ddim},
    Row{{"pndm", "PNDMScheduler", "linear multistep of order 4 (PLMS); one extra network call"},
        Form::discrete,
        make_pndm},
    Row{{"euler", "EulerDiscreteScheduler", "first-order ODE steps in sigma"}, Form::exploding, make_euler},
    Row{{"euler_a", "EulerAncestralDiscreteScheduler", "Euler with fresh noise at every step"},
        Form::plain,
        make_euler_ancestral},
    Row{{"heun", "HeunDiscreteScheduler", "second order, two network calls a step"}, Form::exploding, make_heun},
    Row{{"dpm2", "KDPM2DiscreteScheduler", "second order by a midpoint, two network calls a step"},
        Form::exploding,
        make_kdpm2},
    Row{{"dpm2_a", "KDPM2AncestralDiscreteScheduler", "dpm2 with fresh noise at every step"},
        Form::exploding,
        make_kdpm2_ancestral},
    Row{{"dpmpp_2m", "DPMSolverMultistepScheduler", "DPM-Solver++ 2M; good at 20 to 30 steps"},
        Form::log_snr,
        make_dpm_multistep,
        "dpmsolver++"},
    Row{{"dpmpp_2m_sde", "DPMSolverMultistepScheduler", "DPM-Solver++ 2M with fresh noise"},
        Form::log_snr,
        make_dpm_multistep,
        "sde-dpmsolver++"},
    Row{{"dpmpp_sde", "DPMSolverSDEScheduler", "DPM-Solver++ SDE, two network calls a step"},
        Form::exploding,
        make_dpm_sde},
    Row{{"unipc", "UniPCMultistepScheduler", "predictor-corrector multistep; good at 10 to 20 steps"},
        Form::log_snr,
        make_unipc},
    Row{{"lcm", "LCMScheduler", "for distilled models (LCM); 4 to 8 steps"}, Form::discrete, make_lcm},
    Row{{"tcd", "TCDScheduler", "for distilled models (TCD); --eta sets its gamma"}, Form::discrete, make_tcd},
    Row{{"deis", "DEISMultistepScheduler", "exponential integrator, multistep in log rho"}, Form::log_snr, make_deis},
    Row{{"lms", "LMSDiscreteScheduler", "linear multistep of order 4 in sigma"}, Form::exploding, make_lms},
    Row{{"flow_euler", "FlowMatchEulerDiscreteScheduler", "Euler steps for flow-matching models"},
        Form::flow,
        make_flow_euler},
    Row{{"flow_unipc", "UniPCMultistepScheduler", "UniPC on a flow-matching schedule"},
        Form::log_snr,
        make_unipc,
        nullptr,
        true},
};

struct Choice {
  const Row* row;
  bool by_class;  ///< named as the config names it: nothing of the row overrides the config
};

Choice find_row(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.row.name == name) {
      return {&row, false};
    }
  }
  for (const Row& row : kRows) {
    if (row.row.class_name == name) {
      return {&row, true};
    }
  }
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    names.emplace_back(row.row.name);
  }
  throw Error(ErrorCode::unsupported,
              "sampler: wanted one of " + join(names, ", ") + ", got '" + std::string(name) + "'",
              did_you_mean(name, names));
}

bool is_flow(const io::Config& config) {
  return config.get_string("_class_name", "").starts_with("FlowMatch") ||
         config.get_string("prediction_type", "") == "flow_prediction" || config.get_bool("use_flow_sigmas", false);
}

// Keys beginning with '_' are notes of the writer; the ones listed in _use_default_values were
// never chosen by anybody, so today's default of the new class applies to them (diffusers
// ConfigMixin.extract_init_dict).
io::Json chosen_keys(const io::Config& config) {
  const std::vector<std::string> unset = config.get_strings("_use_default_values", std::vector<std::string>{});
  io::Json keys = io::Json::object();
  for (const auto& [key, value] : config.json().items()) {
    if (!key.starts_with('_') && std::find(unset.begin(), unset.end(), key) == unset.end()) {
      keys[key] = value;
    }
  }
  return keys;
}

// A flow has one shift under two names: `shift` in FlowMatchEuler, `flow_shift` in the log-SNR
// classes.
void carry_shift(io::Json& keys, const char* from, const char* to) {
  if (!keys.contains(to) && keys.contains(from)) {
    keys[to] = keys[from];
  }
}

void follow_flow(io::Json& keys, const Row& row, const io::Config& config) {
  const bool flow = is_flow(config);
  if (row.form == Form::flow) {
    carry_shift(keys, "flow_shift", "shift");
  }
  if (row.form == Form::log_snr && (flow || row.use_flow_sigmas)) {
    keys["use_flow_sigmas"] = true;
    carry_shift(keys, "shift", "flow_shift");
    if (flow && !keys.contains("prediction_type")) {
      keys["prediction_type"] = "flow_prediction";
    }
  }
  if (flow && row.form != Form::flow && row.form != Form::log_snr) {
    throw Error(ErrorCode::unsupported,
                config.where() +
                    ": sampler: a flow-matching checkpoint wanted flow_euler, flow_unipc, unipc, dpmpp_2m, "
                    "dpmpp_2m_sde or deis, got " +
                    std::string(row.row.name));
  }
}

void apply_sigma_grid(io::Json& keys, const Row& row, const std::string& grid) {
  static constexpr std::array<std::pair<const char*, const char*>, 3> kKeys = {
      {{"karras", "use_karras_sigmas"}, {"exponential", "use_exponential_sigmas"}, {"beta", "use_beta_sigmas"}}};
  if (row.form == Form::discrete || row.form == Form::plain || !grid.empty()) {
    for (const auto& [name, key] : kKeys) {
      keys.erase(key);
    }
  }
  if (grid.empty()) {
    return;
  }
  const bool known = grid == "sgm_uniform" || grid == "simple" ||
                     std::any_of(kKeys.begin(), kKeys.end(), [&](const auto& entry) { return grid == entry.first; });
  if (!known) {
    const std::vector<std::string> names = {"karras", "exponential", "beta", "sgm_uniform", "simple"};
    throw Error(ErrorCode::usage, "sigmas: wanted one of " + join(names, ", ") + ", got '" + grid + "'",
                did_you_mean(grid, names));
  }
  keys.erase("use_lu_lambdas");  // a grid of its own
  keys[kSigmaGridKey] = grid;
}

}  // namespace

std::span<const SchedulerRow> scheduler_rows() {
  static const std::vector<SchedulerRow> rows = [] {
    std::vector<SchedulerRow> public_rows;
    for (const Row& row : kRows) {
      public_rows.push_back(row.row);
    }
    return public_rows;
  }();
  return rows;
}

std::string scheduler_warning(std::string_view name, const io::Config& config) {
  const Row& row = *find_row(name).row;
  const bool wants_flow = row.form == Form::flow || row.use_flow_sigmas;
  if (wants_flow && config.has("_class_name") && !is_flow(config)) {
    return config.where() + ": sampler " + std::string(name) +
           " is for flow-matching models and this checkpoint is not one: expect noise";
  }
  return {};
}

std::unique_ptr<Scheduler> make_scheduler(std::string_view name, const io::Config& config,
                                          const SchedulerOptions& options) {
  const auto [row, by_class] = find_row(name);
  io::Json keys = chosen_keys(config);
  if (!by_class) {
    follow_flow(keys, *row, config);
    if (row->algorithm_type != nullptr) {
      keys["algorithm_type"] = row->algorithm_type;
    }
  }
  if (!options.spacing.empty()) {
    keys["timestep_spacing"] = options.spacing;
  }
  apply_sigma_grid(keys, *row, options.sigmas);
  return row->make(io::Config(std::move(keys), config.where()), options);
}

}  // namespace t2v::sampling
