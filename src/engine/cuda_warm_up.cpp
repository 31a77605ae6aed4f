// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_warm_up.hpp"

#include <array>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include "core/background.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/cuda_kernels.hpp"
#include "engine/cuda_plugin.hpp"
#include "engine/finite.hpp"
#include "tensor/operators.hpp"

namespace t2v::engine {

namespace {

/// A thread that has ended leaves its cuBLAS and cuDNN handles to the next that asks, so that they are made once.
struct WarmUp {
  std::mutex mutex;
  std::optional<Placement> placement;  // guarded by it: of the last beginning
  Background kernels, libraries;
};

WarmUp& warm_up() {
  static WarmUp only;
  return only;
}

/// Whether that is another placement than before, which is remembered.
bool is_new(const Placement& placement) {
  const std::lock_guard lock(warm_up().mutex);
  const auto before = std::exchange(warm_up().placement, placement);
  return !before || before->device != placement.device || before->dtype != placement.dtype;
}

void attempt(const char* name, const Placement& placement, const std::function<void(const Placement&)>& work) {
  const auto start = std::chrono::steady_clock::now();
  try {
    const c10::DeviceGuard guard(placement.device);
    work(placement);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    log::debug("CUDA warm-up: {}: {} s", name, taken.count());
  } catch (const c10::Error& error) {
    log::debug("CUDA warm-up: {}: {}", name, first_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    log::debug("CUDA warm-up: {}: {}", name, first_line(error.what()));
  }
}

at::Tensor zeros(at::IntArrayRef shape, const Placement& placement) {
  return at::zeros(shape, at::TensorOptions().dtype(placement.dtype).device(placement.device));
}

/// Waits for the device, so that what went wrong there is known here.
void wait_for(const Placement& placement) {
  if (placement.device.is_cuda()) cuda_synchronize(placement.device.index());
}

}  // namespace

void begin_cuda_warm_up(const Placement& placement) {
  if (!is_new(placement)) return;
  const auto kernels = [placement] {
    attempt("kernels", placement, use_cuda_kernels);
    attempt("products", placement, use_products);
  };
  const auto libraries = [placement] { attempt("convolutions", placement, use_convolutions); };
  warm_up().kernels.begin(kernels);
  warm_up().libraries.begin(libraries);
}

void wait_for_cuda_kernels() { warm_up().kernels.finish(); }

void finish_cuda_warm_up() {
  wait_for_cuda_kernels();
  warm_up().libraries.finish();
}

/// A block of a text encoder.
void use_products(const Placement& placement) {
  const c10::InferenceMode guard;
  constexpr int64_t kTokens = 77, kHeads = 16, kWidth = 1024;
  const at::Tensor x = zeros({2, kTokens, kWidth}, placement), weight = zeros({kWidth, kWidth}, placement),
                   bias = zeros({kWidth}, placement);
  const at::Tensor normal = at::layer_norm(x, {kWidth}, bias, bias, 1e-5);
  const at::Tensor heads = at::linear(normal, weight, bias).view({2, kTokens, kHeads, -1}).transpose(1, 2);
  for (const bool is_causal : {true, false}) {
    at::scaled_dot_product_attention(heads, heads, heads, {}, /*dropout_p=*/0.0, is_causal);
  }
  const at::Tensor plain = at::softmax(at::matmul(heads, heads.transpose(-2, -1)), -1);
  const at::Tensor merged = at::matmul(plain, heads).transpose(1, 2).reshape(x.sizes());
  const at::Tensor sum = x + at::linear(merged, weight);
  const at::Tensor both = at::cat({at::gelu(sum), at::silu(sum)}, 0);
  both.to(c10::kFloat).add_(1.0);
  wait_for(placement);
}

/// A block of a UNet, what surrounds it in a step, and convolutions of the other forms.
void use_convolutions(const Placement& placement) {
  const c10::InferenceMode guard;
  constexpr auto kLayout = at::MemoryFormat::ChannelsLast;
  constexpr int64_t kChannels = 320, kSide = 32;
  constexpr std::array<std::array<int64_t, 2>, 3> kKernels{{{3, 3}, {1, 1}, {3, 1}}};
  const at::Tensor bias = zeros({kChannels}, placement);
  at::Tensor x = zeros({2, kChannels, kSide, kSide}, placement).contiguous(kLayout);
  for (const auto& [height, width] : kKernels) {
    const at::Tensor weight = zeros({kChannels, kChannels, height, width}, placement).contiguous(kLayout);
    const at::Tensor normal = at::silu(at::group_norm(x, /*num_groups=*/32, bias, bias, 1e-5)).contiguous(kLayout);
    x = at::conv2d(normal, weight, bias, 1, {height / 2, width / 2}).add_(x);
    if (width == 3) at::conv2d(x, weight, bias, /*stride=*/2, /*padding=*/1);
  }
  at::upsample_nearest2d(x, {2 * kSide, 2 * kSide});
  all_finite({x.to(c10::kFloat)});
  wait_for(placement);
}

void begin_warm_up(const std::function<void()>& kernels, const std::function<void()>& libraries) {
  {
    const std::lock_guard lock(warm_up().mutex);
    warm_up().placement.reset();
  }
  warm_up().kernels.begin(kernels);
  warm_up().libraries.begin(libraries);
}

}  // namespace t2v::engine
