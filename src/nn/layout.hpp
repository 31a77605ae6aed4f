// SPDX-License-Identifier: Apache-2.0
// Views between the layouts of a video activation. The memory is always B F H W C: channels-last [B*F, C, H, W] is the
// same bytes as tokens [B*F, H*W, C] and as frames [B, F, H*W, C], so none of these copies unless the input is laid
// out otherwise.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace t2v::nn {

/// [N, C, H, W] -> [N, H*W, C]
inline at::Tensor to_tokens(const at::Tensor& x) {
  return x.permute({0, 2, 3, 1}).reshape({x.size(0), x.size(2) * x.size(3), x.size(1)});
}

/// [N, H*W, C] -> [N, C, H, W] with the sizes of `like`, except the channels
inline at::Tensor from_tokens(const at::Tensor& tokens, const at::Tensor& like) {
  return tokens.reshape({like.size(0), like.size(2), like.size(3), -1}).permute({0, 3, 1, 2});
}

/// [B*F, C, H, W] -> [B, C, F, H*W], channels-last: a layer that looks across frames sees them as image rows
inline at::Tensor frames_as_rows(const at::Tensor& x, int64_t frames) {
  return x.permute({0, 2, 3, 1})
      .reshape({x.size(0) / frames, frames, x.size(2) * x.size(3), x.size(1)})
      .permute({0, 3, 1, 2});
}

/// [B, C, F, H*W] -> [B*F, C, H, W] with the sizes of `like`, except the channels
inline at::Tensor rows_as_frames(const at::Tensor& rows, const at::Tensor& like) {
  return from_tokens(rows.permute({0, 2, 3, 1}), like);
}

}  // namespace t2v::nn
