// SPDX-License-Identifier: Apache-2.0
#include "engine/gemm_rate.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

namespace t2v::engine {

namespace {

/// Seconds of the fastest of several runs.
double best_seconds(const std::function<at::Tensor()>& run) {
  constexpr int kRuns = 6;  // the first warms up
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run().flatten()[0].cpu();  // waits for a device
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) best = std::min(best, seconds);
  }
  return best;
}

}  // namespace

double measured_gemm_rate(const Placement& placement) {
  const c10::InferenceMode guard;
  const int64_t widest = placement.device.is_cuda() ? 8192 : 2048;
  constexpr double kLongEnough = 0.05;  // seconds: a CPU without fp16 products would take minutes for the widest
  const auto options = at::TensorOptions().dtype(placement.dtype).device(placement.device);
  for (int64_t width = 256;; width *= 2) {
    const at::Tensor a = at::rand({width, width}, options), b = at::rand({width, width}, options);
    const double seconds = best_seconds([&] { return at::mm(a, b); });
    if (width == widest || seconds > kLongEnough) return 2.0 * static_cast<double>(width * width * width) / seconds;
  }
}

double measured_copy_rate(const Placement& placement) {
  const c10::InferenceMode guard;
  const int64_t bytes = int64_t{1} << (placement.device.is_cuda() ? 32 : 28);
  const at::Tensor from = at::zeros({bytes}, at::TensorOptions().dtype(at::kByte).device(placement.device));
  at::Tensor to = at::empty_like(from);
  return 2.0 * static_cast<double>(bytes) / best_seconds([&] { return to.copy_(from); });
}

}  // namespace t2v::engine
