// SPDX-License-Identifier: Apache-2.0
#include "models/vae/tiling.hpp"

#include <algorithm>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>

#include "core/check.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {

namespace {

using at::Tensor;

constexpr double kOverlap = 0.25;

/// Fades from the last `extent` rows (dim 2) or columns (dim 3) of `before` into the first ones of `tile`, in place.
/// `before` was blended itself already, as in diffusers.
void blend(const Tensor& before, Tensor& tile, int64_t dim, int64_t extent) {
  extent = std::min({before.size(dim), tile.size(dim), extent});
  if (extent == 0) {
    return;
  }
  std::vector<int64_t> along(4, 1);
  along[static_cast<size_t>(dim)] = extent;
  const Tensor rise = (at::arange(extent, at::TensorOptions().dtype(at::kDouble)) / static_cast<double>(extent)).view(along);
  const Tensor weight = rise.to(tile.device(), tile.scalar_type());
  const Tensor fall = (1.0 - rise).to(tile.device(), tile.scalar_type());
  Tensor head = tile.narrow(dim, 0, extent);
  head.copy_(before.narrow(dim, before.size(dim) - extent, extent) * fall + head * weight);
}

}  // namespace

Tensor run_tiled(const Tensor& x, const TileSizes& sizes, const std::function<Tensor(const Tensor&)>& network) {
  const auto stride = static_cast<int64_t>(static_cast<double>(sizes.input) * (1.0 - kOverlap));
  const auto extent = static_cast<int64_t>(static_cast<double>(sizes.output) * kOverlap);
  T2V_CHECK(stride > 0, "tiles need a side of at least 2");
  const int64_t limit = sizes.output - extent;

  std::vector<Tensor> above, rows;
  for (int64_t top = 0; top < x.size(2); top += stride) {
    const Tensor strip = x.narrow(2, top, std::min(sizes.input, x.size(2) - top));
    std::vector<Tensor> row, kept;
    for (int64_t left = 0; left < x.size(3); left += stride) {
      Tensor tile = network(strip.narrow(3, left, std::min(sizes.input, x.size(3) - left)));
      if (!above.empty()) {
        blend(above[row.size()], tile, 2, extent);
      }
      if (!row.empty()) {
        blend(row.back(), tile, 3, extent);
      }
      kept.push_back(tile.narrow(2, 0, std::min(limit, tile.size(2))).narrow(3, 0, std::min(limit, tile.size(3))));
      row.push_back(tile);
    }
    rows.push_back(at::cat(kept, 3));
    above = std::move(row);
  }
  return at::cat(rows, 2);
}

}  // namespace t2v::models::vae
