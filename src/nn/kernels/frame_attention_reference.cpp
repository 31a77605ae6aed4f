// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels/frame_attention.hpp"

namespace t2v::nn::kernels {

void frame_attention_reference(const float* qkv, float* out, const FrameAttentionShape& s) {
  const int64_t width = s.heads * s.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  // part: 0 q, 1 k, 2 v
  const auto row = [&](int64_t b, int64_t f, int64_t p, int64_t part, int64_t n) {
    return qkv + (((b * s.frames + f) * s.positions + p) * 3 + part) * width + n * s.head_dim;
  };
  std::vector<double> weights(s.frames);
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t p = 0; p < s.positions; ++p)
      for (int64_t n = 0; n < s.heads; ++n)
        for (int64_t query = 0; query < s.frames; ++query) {
          for (int64_t key = 0; key < s.frames; ++key) {
            double dot = 0;
            for (int64_t d = 0; d < s.head_dim; ++d) dot += row(b, query, p, 0, n)[d] * row(b, key, p, 1, n)[d];
            weights[key] = dot * scale;
          }
          const double largest = *std::max_element(weights.begin(), weights.end());
          double sum = 0;
          for (double& weight : weights) sum += weight = std::exp(weight - largest);
          float* result = out + ((b * s.frames + query) * s.positions + p) * width + n * s.head_dim;
          for (int64_t d = 0; d < s.head_dim; ++d) {
            double value = 0;
            for (int64_t key = 0; key < s.frames; ++key) value += weights[key] * row(b, key, p, 2, n)[d];
            result[d] = static_cast<float>(value / sum);
          }
        }
}

}  // namespace t2v::nn::kernels
