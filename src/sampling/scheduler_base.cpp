// SPDX-License-Identifier: Apache-2.0
#include "sampling/scheduler_base.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/check.hpp"
#include "t2v/error.hpp"

namespace t2v::sampling {
namespace {

constexpr std::array<std::pair<const char*, Prediction>, 4> kPredictions = {
    {{"epsilon", Prediction::epsilon},
     {"v_prediction", Prediction::v_prediction},
     {"sample", Prediction::sample},
     {"flow_prediction", Prediction::flow_prediction}}};

// Only flow samplers get this far: the others end at the training schedule.
constexpr int64_t kMostSteps = 100000;

}  // namespace

Prediction read_prediction(const io::Config& config, std::initializer_list<Prediction> known, const char* class_name) {
  const std::string name = config.get_string("prediction_type", "epsilon");
  std::string wanted;
  for (const auto& [candidate, kind] : kPredictions) {
    if (std::find(known.begin(), known.end(), kind) == known.end()) {
      continue;
    }
    if (name == candidate) {
      return kind;
    }
    wanted += (wanted.empty() ? "" : ", ") + std::string(candidate);
  }
  throw Error(ErrorCode::unsupported,
              config.where() + ": prediction_type: " + class_name + " wanted one of " + wanted + ", got '" + name + "'",
              "choose another --sampler");
}

Split split_prediction(Prediction kind, const Tensor& output, const Tensor& sample, const Tensor& alpha_bar) {
  const Tensor alpha = alpha_bar.pow(0.5);
  const Tensor sigma = (1 - alpha_bar).pow(0.5);
  switch (kind) {
    case Prediction::epsilon: return {.x0 = (sample - sigma * output) / alpha, .epsilon = output};
    case Prediction::sample: return {.x0 = output, .epsilon = (sample - alpha * output) / sigma};
    case Prediction::v_prediction:
      return {.x0 = alpha * sample - sigma * output, .epsilon = alpha * output + sigma * sample};
    case Prediction::flow_prediction: break;
  }
  T2V_CHECK(false, "flow prediction has no alpha_bar");
}

Tensor denoise(Prediction kind, const Tensor& output, const Tensor& sample, const Tensor& sigma) {
  switch (kind) {
    case Prediction::epsilon: return sample - sigma * output;
    case Prediction::sample: return output;
    case Prediction::v_prediction: return output * (-sigma / (sigma.pow(2) + 1).pow(0.5)) + sample / (sigma.pow(2) + 1);
    case Prediction::flow_prediction: break;
  }
  T2V_CHECK(false, "flow prediction is not of the variance-exploding form");
}

Tensor divide(double x, const Tensor& t) { return t.reciprocal() * x; }

double exploding_init_sigma(const Tensor& sigmas, const std::string& spacing) {
  const Tensor largest = sigmas.max();
  return spacing == "leading" ? (largest.pow(2) + 1).pow(0.5).item<double>() : largest.item<double>();
}

void History::push(const Tensor& value) {
  if (values_.size() == limit_) {
    values_.erase(values_.begin());
  }
  values_.push_back(value);
}

const Tensor& History::back(size_t age) const {
  if (age >= values_.size()) {
    throw Error(ErrorCode::bad_input, "sampler state: wanted " + std::to_string(age + 1) +
                                          " earlier tensors to continue from, got " + std::to_string(values_.size()));
  }
  return values_[values_.size() - 1 - age];
}

void History::save(std::map<std::string, Tensor>& state, const std::string& name) const {
  for (size_t n = 0; n < values_.size(); ++n) {
    state[name + "." + std::to_string(n)] = values_[n];
  }
}

void History::restore(const std::map<std::string, Tensor>& state, const std::string& name) {
  values_.clear();
  for (size_t n = 0; n < limit_; ++n) {
    const auto found = state.find(name + "." + std::to_string(n));
    if (found == state.end()) {
      break;
    }
    values_.push_back(found->second);
  }
}

SchedulerBase::SchedulerBase(const io::Config& config, const SchedulerOptions& options)
    : where_(config.where()),
      spacing_(config.get_string("timestep_spacing", "")),
      steps_offset_(config.get_int("steps_offset", 0, 0, 1000000)),
      options_(options) {
  if (options.steps < 1 || options.steps > kMostSteps) {
    const int64_t nearest = options.steps < 1 ? 1 : kMostSteps;
    throw Error(ErrorCode::usage,
                "steps: wanted 1 to " + std::to_string(kMostSteps) + ", got " + std::to_string(options.steps),
                "use --steps " + std::to_string(nearest));
  }
  if (!(options.eta >= 0.0 && options.eta <= 1.0)) {
    throw Error(ErrorCode::usage, "eta: wanted 0 to 1, got " + std::to_string(options.eta));
  }
}

void SchedulerBase::set_timesteps(std::vector<double> timesteps, int64_t calls_per_step) {
  timesteps_ = std::move(timesteps);
  begin_ = first_call(options_.steps, options_.strength, calls_per_step);
}

std::span<const double> SchedulerBase::timesteps() const {
  return std::span<const double>(timesteps_).subspan(static_cast<size_t>(begin_));
}

int64_t SchedulerBase::absolute(int64_t i) const {
  T2V_CHECK(i >= 0 && begin_ + i < call_count(), "network call outside the schedule");
  return begin_ + i;
}

TimestepGrid SchedulerBase::grid(const NoiseSchedule& noise, const char* default_spacing) const {
  if (options_.steps > noise.train_steps) {
    throw Error(ErrorCode::usage,
                "steps: wanted 1 to " + std::to_string(noise.train_steps) +
                    " (the schedule the model was trained on), got " + std::to_string(options_.steps),
                "use --steps " + std::to_string(noise.train_steps));
  }
  return {.spacing = spacing_.empty() ? default_spacing : spacing_,
          .train_steps = noise.train_steps,
          .steps = options_.steps,
          .offset = steps_offset_};
}

DiscreteScheduler::DiscreteScheduler(const io::Config& config, const SchedulerOptions& options,
                                     const NoiseDefaults& defaults)
    : SchedulerBase(config, options), noise_(make_noise_schedule(config, defaults)) {
  if (!options.sigmas.empty()) {
    throw Error(ErrorCode::unsupported,
                "sigmas: this sampler walks integer timesteps: wanted no sigma grid, got '" + options.sigmas + "'",
                "use --spacing, or a sampler of the Euler or DPM++ family");
  }
}

void DiscreteScheduler::check_timesteps(Prediction prediction, bool clips) const {
  for (const double t : timesteps()) {  // what a late start leaves out does no harm
    if (t >= static_cast<double>(noise_.train_steps)) {
      const int64_t legal = noise_.train_steps / 2;  // ratio 2 leaves room for any offset in use
      throw Error(ErrorCode::usage,
                  "steps: with steps_offset " + std::to_string(steps_offset_) + ": wanted timesteps below " +
                      std::to_string(noise_.train_steps) + ", got " + std::to_string(static_cast<int64_t>(t)) + " at " +
                      std::to_string(options_.steps) + " steps",
                  "use --steps " + std::to_string(legal) + " or fewer, or --spacing trailing");
    }
    const int64_t index = static_cast<int64_t>(t) < 0 ? noise_.train_steps - 1 : static_cast<int64_t>(t);
    if (noise_.zero_terminal && index == noise_.train_steps - 1 && prediction == Prediction::epsilon && !clips) {
      throw Error(ErrorCode::unsupported,
                  where_ +
                      ": rescale_betas_zero_snr: wanted v_prediction or sample for a schedule that "
                      "starts at zero "
                      "signal, got epsilon",
                  "noise alone does not tell the sample there; use --spacing leading");
    }
  }
}

Tensor DiscreteScheduler::alpha_bar_or(int64_t t, const Tensor& before_first) const {
  return t >= 0 ? noise_.alpha_bar(t) : before_first;
}

Tensor DiscreteScheduler::add_noise(const Tensor& original, const Tensor& noise, int64_t i) const {
  const Tensor alpha_bar =
      noise_.alpha_bar(timestep(absolute(i))).to(original.scalar_type()).to(original.device()).reshape({1});
  return alpha_bar.pow(0.5) * original + (1 - alpha_bar).pow(0.5) * noise;
}

}  // namespace t2v::sampling
