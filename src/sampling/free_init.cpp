// SPDX-License-Identifier: Apache-2.0
#include "sampling/free_init.hpp"

#include <array>
#include <cmath>
#include <vector>

#include <ATen/ops/fft_fftn.h>
#include <ATen/ops/fft_fftshift.h>
#include <ATen/ops/fft_ifftn.h>
#include <ATen/ops/fft_ifftshift.h>
#include <ATen/ops/real.h>
#include <ATen/ops/zeros.h>

#include "sampling/noise_schedule.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling {
namespace {

double passed(const FreeInitOptions& o, double distance_squared) {
  const double cutoff_squared = o.space_cutoff * o.space_cutoff;
  switch (o.filter) {
    case FrequencyFilter::butterworth: return 1 / (1 + std::pow(distance_squared / cutoff_squared, o.order));
    case FrequencyFilter::gaussian: return std::exp(-1 / (2 * cutoff_squared) * distance_squared);
    case FrequencyFilter::ideal:
      return distance_squared <= o.space_cutoff * 2 ? 1 : 0;  // compared unsquared, as in the reference
  }
  return 0;
}

/// Frequency i of n, -1 at the lowest index.
double frequency(int64_t i, int64_t n) { return 2 * static_cast<double>(i) / static_cast<double>(n) - 1; }

}  // namespace

at::Tensor low_pass_filter(const FreeInitOptions& o, int64_t frames, int64_t height, int64_t width) {
  at::Tensor filter = at::zeros({frames, height, width}, at::TensorOptions().dtype(c10::kFloat));
  if (o.space_cutoff == 0 || o.time_cutoff == 0) return filter;
  auto* value = filter.mutable_data_ptr<float>();
  for (int64_t f = 0; f < frames; ++f) {
    const double time = std::pow(o.space_cutoff / o.time_cutoff * frequency(f, frames), 2);
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const double distance = time + std::pow(frequency(y, height), 2) + std::pow(frequency(x, width), 2);
        *value++ = static_cast<float>(passed(o, distance));
      }
    }
  }
  return filter;
}

at::Tensor mix_frequencies(const at::Tensor& low, const at::Tensor& high, const at::Tensor& filter, int64_t frame_dim) {
  const int64_t last = low.dim() - 1;
  const std::array<int64_t, 3> dims{frame_dim, last - 1, last};
  std::vector<int64_t> shape(static_cast<size_t>(low.dim()), 1);
  for (size_t i = 0; i < dims.size(); ++i) shape[static_cast<size_t>(dims[i])] = filter.size(static_cast<int64_t>(i));
  const at::Tensor keep = filter.view(shape).to(low.device());
  const auto spectrum = [&](const at::Tensor& x) {
    return at::fft_fftshift(at::fft_fftn(x.to(c10::kFloat), {}, dims), dims);
  };
  const at::Tensor mixed = spectrum(low) * keep + spectrum(high) * (1 - keep);
  return at::real(at::fft_ifftn(at::fft_ifftshift(mixed, dims), {}, dims));
}

at::Tensor diffuse_fully(const at::Tensor& original, const at::Tensor& noise, const io::Config& config) {
  const NoiseSchedule schedule = make_noise_schedule(config, {});
  const at::Tensor kept = schedule.alpha_bar(schedule.train_steps - 1).to(original.device());
  return (kept.sqrt() * original + (1 - kept).sqrt() * noise).to(c10::kFloat);
}

}  // namespace t2v::sampling
