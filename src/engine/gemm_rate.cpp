// SPDX-License-Identifier: Apache-2.0
#include "engine/gemm_rate.hpp"

#include <algorithm>
#include <chrono>

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <c10/core/InferenceMode.h>

namespace t2v::engine {

double measured_gemm_rate(const Placement& placement) {
  constexpr int kRuns = 6;  // the first warms up
  const c10::InferenceMode guard;
  const int64_t width = placement.device.is_cuda() ? 8192 : 2048;
  const auto options = at::TensorOptions().dtype(placement.dtype).device(placement.device);
  const at::Tensor a = at::rand({width, width}, options), b = at::rand({width, width}, options);
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor product = at::mm(a, b);
    product.select(0, 0).cpu();  // waits for a device
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (run > 0) best = std::max(best, 2.0 * static_cast<double>(width * width * width) / seconds);
  }
  return best;
}

}  // namespace t2v::engine
