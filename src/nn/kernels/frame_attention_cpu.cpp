// SPDX-License-Identifier: Apache-2.0
// Vectors run along keys for q k^T and along the head for the weighted sum of v, so neither product needs a sum across
// lanes. K is transposed into scratch once for each sequence; four queries share each vector that is loaded.
#include "nn/kernels/frame_attention.hpp"

#include <cmath>
#include <limits>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/frame_attention_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace t2v::nn::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
constexpr int64_t kQueries = 4;  // that share a loaded vector

/// Scratch of one sequence. Rows are padded to whole vectors.
struct Scratch {
  int64_t keys_padded, head_padded;
  std::vector<float> q, k_transposed, v, weights;

  Scratch(int64_t frames, int64_t head_dim) {
    const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
    const auto padded = [lanes](int64_t n) { return (n + lanes - 1) / lanes * lanes; };
    const int64_t queries_padded = (frames + kQueries - 1) / kQueries * kQueries;
    keys_padded = padded(frames);
    head_padded = padded(head_dim);
    q.assign(queries_padded * head_dim, 0.f);
    k_transposed.assign(head_dim * keys_padded, 0.f);
    v.assign(frames * head_padded, 0.f);
    weights.assign(queries_padded * keys_padded, 0.f);
  }
};

void LoadSequence(const float* first, int64_t frame_stride, int64_t width, const FrameAttentionShape& s, Scratch& t) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  for (int64_t f = 0; f < s.frames; ++f) {
    const float* q = first + f * frame_stride;
    const float* k = q + width;
    const float* v = k + width;
    for (int64_t d = 0; d < s.head_dim; ++d) t.q[f * s.head_dim + d] = q[d] * scale;
    for (int64_t d = 0; d < s.head_dim; ++d) t.k_transposed[d * t.keys_padded + f] = k[d];
    for (int64_t d = 0; d < s.head_dim; ++d) t.v[f * t.head_padded + d] = v[d];
  }
}

/// weights[query][key] = q k^T for queries [query, query + 4)
void Scores(const FrameAttentionShape& s, Scratch& t, int64_t query) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* q = &t.q[query * s.head_dim];
  for (int64_t key = 0; key < t.keys_padded; key += lanes) {
    auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
    for (int64_t i = 0; i < s.head_dim; ++i) {
      const auto k = hn::LoadU(d, &t.k_transposed[i * t.keys_padded + key]);
      sum0 = hn::MulAdd(hn::Set(d, q[i]), k, sum0);
      sum1 = hn::MulAdd(hn::Set(d, q[s.head_dim + i]), k, sum1);
      sum2 = hn::MulAdd(hn::Set(d, q[2 * s.head_dim + i]), k, sum2);
      sum3 = hn::MulAdd(hn::Set(d, q[3 * s.head_dim + i]), k, sum3);
    }
    float* out = &t.weights[query * t.keys_padded + key];
    hn::StoreU(sum0, d, out);
    hn::StoreU(sum1, d, out + t.keys_padded);
    hn::StoreU(sum2, d, out + 2 * t.keys_padded);
    hn::StoreU(sum3, d, out + 3 * t.keys_padded);
  }
}

/// One row of logits to weights that sum to 1; padding keys get 0.
void Softmax(float* row, int64_t frames, int64_t keys_padded) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  const auto logits = [&](int64_t key) {
    const auto valid = hn::FirstN(d, static_cast<size_t>(frames - key));
    return hn::IfThenElse(valid, hn::LoadU(d, row + key), lowest);
  };
  auto largest = lowest;
  for (int64_t key = 0; key < keys_padded; key += lanes) largest = hn::Max(largest, logits(key));
  largest = hn::MaxOfLanes(d, largest);
  auto sum = hn::Zero(d);
  for (int64_t key = 0; key < keys_padded; key += lanes) {
    const auto valid = hn::FirstN(d, static_cast<size_t>(frames - key));
    const auto weight = hn::IfThenElseZero(valid, hn::Exp(d, hn::Sub(logits(key), largest)));
    hn::StoreU(weight, d, row + key);
    sum = hn::Add(sum, weight);
  }
  const auto inverse = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, sum));
  for (int64_t key = 0; key < keys_padded; key += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, row + key), inverse), d, row + key);
  }
}

/// out[query][:] = weights[query][:] v for queries [query, query + 4)
void WeightedSum(const FrameAttentionShape& s, const Scratch& t, int64_t query, float* out, int64_t out_stride) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* w = &t.weights[query * t.keys_padded];
  const int64_t queries = HWY_MIN(kQueries, s.frames - query);
  for (int64_t i = 0; i < s.head_dim; i += lanes) {
    auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
    for (int64_t key = 0; key < s.frames; ++key) {
      const auto v = hn::LoadU(d, &t.v[key * t.head_padded + i]);
      sum0 = hn::MulAdd(hn::Set(d, w[key]), v, sum0);
      sum1 = hn::MulAdd(hn::Set(d, w[t.keys_padded + key]), v, sum1);
      sum2 = hn::MulAdd(hn::Set(d, w[2 * t.keys_padded + key]), v, sum2);
      sum3 = hn::MulAdd(hn::Set(d, w[3 * t.keys_padded + key]), v, sum3);
    }
    const auto store = [&](decltype(sum0) sum, int64_t index) {
      if (index >= queries) return;
      float* to = out + (query + index) * out_stride + i;
      if (i + lanes <= s.head_dim) {
        hn::StoreU(sum, d, to);
      } else {
        hn::BlendedStore(sum, hn::FirstN(d, static_cast<size_t>(s.head_dim - i)), d, to);
      }
    };
    store(sum0, 0);
    store(sum1, 1);
    store(sum2, 2);
    store(sum3, 3);
  }
}

void FrameAttention(const float* qkv, float* out, const FrameAttentionShape& s, int64_t first, int64_t last) {
  Scratch t(s.frames, s.head_dim);
  const int64_t width = s.heads * s.head_dim;
  for (int64_t index = first; index < last; ++index) {
    const int64_t batch = index / s.positions, position = index % s.positions;
    const int64_t token = batch * s.frames * s.positions + position;  // of frame 0
    for (int64_t head = 0; head < s.heads; ++head) {
      LoadSequence(qkv + token * 3 * width + head * s.head_dim, s.positions * 3 * width, width, s, t);
      float* result = out + token * width + head * s.head_dim;
      for (int64_t query = 0; query < s.frames; query += kQueries) {
        Scores(s, t, query);
        for (int64_t i = 0; i < kQueries; ++i) {
          Softmax(&t.weights[(query + i) * t.keys_padded], s.frames, t.keys_padded);
        }
        WeightedSum(s, t, query, result, s.positions * width);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace t2v::nn::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace t2v::nn::kernels {

HWY_EXPORT(FrameAttention);

void frame_attention_cpu(const float* qkv, float* out, const FrameAttentionShape& shape, int64_t first, int64_t last) {
  HWY_DYNAMIC_DISPATCH(FrameAttention)(qkv, out, shape, first, last);
}

}  // namespace t2v::nn::kernels
#endif
