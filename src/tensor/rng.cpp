// SPDX-License-Identifier: Apache-2.0
#include "tensor/rng.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <c10/core/TensorOptions.h>

namespace t2v {

Rng::Rng(uint64_t seed, c10::Device generator_device)
    : generator_(generator_device.is_cpu() ? at::detail::createCPUGenerator(seed)
                                           : at::globalContext()
                                                 .getAcceleratorHooksInterface(generator_device.type())
                                                 .getNewGenerator(generator_device.index())) {
  generator_.set_current_seed(seed);
}

at::Tensor Rng::normal(at::IntArrayRef shape, c10::ScalarType dtype, c10::Device device) {
  if (source_) return source_(shape).to(device, dtype);
  const auto options = at::TensorOptions().dtype(drawn_in_.value_or(dtype)).device(generator_.device());
  return at::randn(shape, generator_, options).to(device, dtype);
}

at::Tensor Rng::permutation(int64_t n) {
  return at::randperm(n, generator_, at::TensorOptions().dtype(c10::kLong).device(generator_.device()));
}

at::Tensor Rng::state() const { return generator_.get_state(); }

void Rng::set_state(const at::Tensor& state) { generator_.set_state(state); }

}  // namespace t2v
