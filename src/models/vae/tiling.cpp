// SPDX-License-Identifier: Apache-2.0
#include "models/vae/tiling.hpp"

#include <algorithm>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "core/check.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {

namespace {

using at::Tensor;

constexpr double kOverlap = 0.25;
constexpr int64_t kFadedParts = 8;  // of a tile's side, one of which it shares

/// Fades from the last `extent` rows (dim 2) or columns (dim 3) of `before` into the first ones of `tile`, in place.
/// `before` was blended itself already, as in diffusers.
void blend(const Tensor& before, Tensor& tile, int64_t dim, int64_t extent) {
  extent = std::min({before.size(dim), tile.size(dim), extent});
  if (extent == 0) {
    return;
  }
  std::vector<int64_t> along(4, 1);
  along[static_cast<size_t>(dim)] = extent;
  const Tensor rise =
      (at::arange(extent, at::TensorOptions().dtype(at::kDouble)) / static_cast<double>(extent)).view(along);
  const Tensor weight = rise.to(tile.device(), tile.scalar_type());
  const Tensor fall = (1.0 - rise).to(tile.device(), tile.scalar_type());
  Tensor head = tile.narrow(dim, 0, extent);
  head.copy_(before.narrow(dim, before.size(dim) - extent, extent) * fall + head * weight);
}

/// How much of a tile shows along one axis: none at its first row, all of it from `extent` on.
Tensor fade_in(int64_t size, int64_t extent, bool is_first, at::IntArrayRef view, const Tensor& like) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  const Tensor rise =
      is_first ? at::ones(size, options) : (at::arange(size, options) / static_cast<double>(extent - 1)).clamp_(0, 1);
  return rise.view(view).to(like.device(), like.scalar_type());
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

Tensor run_faded(const Tensor& x, const TileSizes& sizes, const std::function<Tensor(const Tensor&)>& network) {
  const int64_t shared = sizes.input / kFadedParts, stride = sizes.input - shared;
  if (shared == 0 || (x.size(2) <= stride && x.size(3) <= stride)) return network(x);
  const int64_t factor = sizes.output / sizes.input;
  Tensor out;
  for (int64_t top = 0; top < x.size(2); top += stride) {
    const Tensor strip = x.narrow(2, top, std::min(sizes.input, x.size(2) - top));
    for (int64_t left = 0; left < x.size(3); left += stride) {
      const Tensor tile = network(strip.narrow(3, left, std::min(sizes.input, x.size(3) - left)));
      if (!out.defined()) {
        out = at::zeros({x.size(0), tile.size(1), x.size(2) * factor, x.size(3) * factor}, tile.options());
      }
      const int64_t height = tile.size(2), width = tile.size(3), extent = shared * factor;
      const Tensor shown = fade_in(height, extent, top == 0, {height, 1}, tile) *
                           fade_in(width, extent, left == 0, {1, width}, tile);  // [H, W]
      Tensor below = out.narrow(2, top * factor, height).narrow(3, left * factor, width);
      below.copy_(shown * tile + (1.0 - shown) * below);
    }
  }
  return out;
}

}  // namespace t2v::models::vae
