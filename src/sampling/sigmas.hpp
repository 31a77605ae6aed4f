// SPDX-License-Identifier: Apache-2.0
// Noise levels: the table sigma(t) of a trained schedule, and the grids that samplers walk down
// instead of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"

namespace t2v::sampling {

enum class SigmaGrid { table, karras, exponential, beta, lu, sgm_uniform, simple };

/// The grid a config asks for: use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, or what
/// --sigmas put into kSigmaGridKey. Throws Error{bad_input} for two of them at once.
SigmaGrid sigma_grid(const io::Config& config);
/// Grids diffusers has no key for (`sgm_uniform`, `simple`, and every grid of a class without such
/// keys) are passed in this key of the effective config; a checkpoint cannot set it because keys
/// beginning with '_' are dropped on reading.
inline constexpr const char* kSigmaGridKey = "_t2v_sigma_grid";

/// sigma(t) of the trained schedule in fp32, with logarithms, as NumPy holds it.
class SigmaTable {
 public:
  explicit SigmaTable(const at::Tensor& sigmas);  // [T]
  int64_t size() const { return static_cast<int64_t>(sigmas_.size()); }
  double min() const { return sigmas_.front(); }
  double max() const { return sigmas_.back(); }
  double log_min() const { return log_sigmas_.front(); }
  double log_max() const { return log_sigmas_.back(); }
  double operator[](int64_t t) const { return sigmas_[static_cast<size_t>(t)]; }
  /// numpy.interp over t: linear in sigma, clamped at both ends.
  double interpolate(double t) const;
  std::vector<double> interpolate(const std::vector<double>& t) const;
  /// k-diffusion's t_to_sigma: linear in log sigma.
  double log_interpolate(double t) const;
  /// Timestep of a noise level, linear in log sigma, clamped (diffusers _sigma_to_t).
  double timestep(double sigma) const;
  std::vector<double> timestep(const std::vector<double>& sigmas) const;

 private:
  std::vector<double> sigmas_;
  std::vector<double> log_sigmas_;
};

/// Ends of a re-made grid. Karras et al., exponential and beta grids span these.
struct SigmaRange {
  double max = 0;
  double min = 0;
};
/// `sigma_min` and `sigma_max` of the config where given, whichever class wrote them, else the
/// given ends.
SigmaRange configured_range(const io::Config& config, SigmaRange ends);

/// Descending noise levels, `steps` of them (karras, exponential, beta).
std::vector<double> remade_sigmas(SigmaGrid grid, SigmaRange range, int64_t steps);
/// Uniform in log sigma as the DPM-Solver code of Lu et al. does it.
std::vector<double> lu_sigmas(const SigmaTable& table, int64_t steps);
/// Timesteps of `sgm_uniform` (steps+1 points from T-1 to 0, the last dropped) and `simple` (every
/// T/steps-th entry counted from the noisy end), as ComfyUI and the A1111 web UI define them.
std::vector<double> uniform_timesteps(SigmaGrid grid, int64_t train_steps, int64_t steps);

/// [n] fp32 CPU tensor of the values with `last` appended when given.
at::Tensor sigma_tensor(std::vector<double> sigmas, std::optional<double> last);

}  // namespace t2v::sampling
