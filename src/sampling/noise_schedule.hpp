// SPDX-License-Identifier: Apache-2.0
// The forward process every discrete scheduler shares: betas and their cumulative products, built
// from the scheduler config by the key names and in the precision (fp32 tensors) of diffusers
// 0.42.1.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "io/config.hpp"

namespace t2v::sampling {

/// What a scheduler class assumes for keys its config does not have.
struct NoiseDefaults {
  double beta_start = 0.0001;
  double beta_end = 0.02;
  const char* beta_schedule = "linear";
  bool knows_zero_snr = true;       ///< class has `rescale_betas_zero_snr`; others ignore the key
  bool finite_first_sigma = false;  ///< after the rescale the last product becomes 2^-24, so sigma stays finite
  const char* extra_schedule = "";  ///< one more beta schedule this class knows: "sigmoid laplace", "exp"
};

struct NoiseSchedule {
  int64_t train_steps = 1000;
  std::string beta_schedule;
  at::Tensor alphas_cumprod;   ///< [T] fp32, CPU
  bool zero_terminal = false;  ///< alphas_cumprod.back() == 0

  /// alphas_cumprod[t] as 0-dim tensor. t = -1 is the last entry, as in Python: `trailing` grids
  /// can hold -1.
  at::Tensor alpha_bar(int64_t t) const;
  /// sqrt((1 - a) / a) of the whole table. [T] fp32
  at::Tensor sigma_table() const;
};

/// Throws Error{unsupported} for a beta schedule the class does not know, Error{bad_input} for bad
/// values.
NoiseSchedule make_noise_schedule(const io::Config& config, const NoiseDefaults& defaults);

}  // namespace t2v::sampling
