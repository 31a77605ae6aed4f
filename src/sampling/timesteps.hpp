// SPDX-License-Identifier: Apache-2.0
// Grids of timesteps, bit for bit as NumPy makes them inside diffusers' set_timesteps.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace t2v::sampling {

/// numpy.linspace(start, stop, count): double arithmetic, the last value exactly `stop`.
std::vector<double> linspace(double start, double stop, int64_t count, bool endpoint = true);
/// numpy.arange(start, stop, step) for doubles. May hold one value more than expected: rounding
/// decides, as in NumPy.
std::vector<double> arange(double start, double stop, double step);
/// Half to even, as numpy.round.
double round_half_even(double value);
/// NumPy's astype(float32) for every value.
std::vector<double> as_float32(std::vector<double> values);

struct TimestepGrid {
  std::string spacing;  ///< leading | linspace | trailing
  int64_t train_steps = 1000;
  int64_t steps = 50;
  int64_t offset = 0;  ///< steps_offset: leading only
  int64_t last = 0;    ///< grids of the log-SNR solvers end here instead of at train_steps; 0 = train_steps
};

/// Descending timesteps of DDPM, DDIM and LCM-like classes (`rounded`) or of the Euler family
/// (linspace keeps fractions).
std::vector<double> spaced_timesteps(const TimestepGrid& grid, bool rounded);
/// Descending integer timesteps of DPM-Solver++, DEIS and UniPC: one more point than steps, the
/// last one dropped.
std::vector<double> solver_timesteps(const TimestepGrid& grid);

/// First call of a run that starts late (image- or video-to-video): the pipelines' get_timesteps.
int64_t first_call(int64_t steps, double strength, int64_t calls_per_step);

}  // namespace t2v::sampling
