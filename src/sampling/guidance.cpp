// SPDX-License-Identifier: Apache-2.0
#include "sampling/guidance.hpp"

#include <numeric>
#include <vector>

#include <ATen/TensorOperators.h>

#include "core/check.hpp"

namespace t2v::sampling {
namespace {

at::Tensor deviation(const at::Tensor& x) {
  std::vector<int64_t> dims(static_cast<size_t>(x.dim() - 1));
  std::iota(dims.begin(), dims.end(), 1);
  return x.std(dims, /*unbiased=*/true, /*keepdim=*/true);
}

}  // namespace

at::Tensor combine_cfg(const at::Tensor& uncond, const at::Tensor& cond, double scale) {
  return uncond + scale * (cond - uncond);
}

at::Tensor combine_cfg(const at::Tensor& uncond, const at::Tensor& cond, const at::Tensor& scale) {
  return uncond + scale * (cond - uncond);
}

at::Tensor combine_cfg_batch(const at::Tensor& both, double scale) {
  T2V_CHECK(both.dim() > 0 && both.size(0) % 2 == 0, "a guided batch has two halves");
  const int64_t half = both.size(0) / 2;
  return combine_cfg(both.slice(0, 0, half), both.slice(0, half), scale);
}

at::Tensor rescale_noise_cfg(const at::Tensor& guided, const at::Tensor& cond, double rescale) {
  if (rescale == 0.0) {
    return guided;
  }
  const at::Tensor rescaled = guided * (deviation(cond) / deviation(guided));
  return rescale * rescaled + (1 - rescale) * guided;
}

}  // namespace t2v::sampling
