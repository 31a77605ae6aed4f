// SPDX-License-Identifier: Apache-2.0
#include "nn/feed_forward.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/sigmoid.h>

#include "core/text.hpp"
#include "nn/kernels/geglu.hpp"
#include "t2v/error.hpp"
#include "tensor/device_kernels.hpp"
#include "tensor/operators.hpp"
#include "tensor/parallel.hpp"

namespace t2v::nn {

namespace {

constexpr int64_t kParallelElements = 4096;  // fewer are not worth a second thread

}  // namespace

FeedForwardKind feed_forward_kind(std::string_view name, std::string_view where) {
  struct Row {
    std::string_view name;
    FeedForwardKind kind;
  };
  static constexpr Row kRows[] = {{"geglu", FeedForwardKind::geglu},
                                  {"gelu", FeedForwardKind::gelu},
                                  {"gelu-approximate", FeedForwardKind::gelu_approximate},
                                  {"geglu-approximate", FeedForwardKind::geglu_approximate}};
  std::vector<std::string> known;
  for (const Row& row : kRows) {
    if (row.name == name) {
      return row.kind;
    }
    known.emplace_back(row.name);
  }
  throw Error(ErrorCode::unsupported,
              "unsupported feed-forward: " + std::string(where) + ": '" + std::string(name) + "'",
              did_you_mean(name, known));
}

Tensor geglu(const Tensor& x) {
  const int64_t width = x.size(-1) / 2;
  if (const auto* device = device_kernels_for(x)) {
    if (const auto out = device->geglu(x)) return *out;
  }
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || !x.is_contiguous()) {
    return at::gelu(x.narrow(-1, width, width)).mul_(x.narrow(-1, 0, width));
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = width;
  Tensor out = at::empty(shape, x.options());
  const float* from = x.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, kParallelElements / width);
  parallel_for(out.numel() / width, grain, [&](int64_t first, int64_t last) {
    kernels::geglu_cpu(from + 2 * first * width, to + first * width, last - first, width);
  });
  return out;
}

FeedForward::FeedForward(const Weights& w, const FeedForwardOptions& o)
    : kind(o.kind),
      project_in(o.kind == FeedForwardKind::geglu ? Linear::gated(w.at("net.0.proj"), o.width, 2 * o.width * o.mult)
                                                  : Linear(w.at("net.0.proj"), o.width, o.width * o.mult)),
      project_out(w.at("net.2"), o.width * o.mult, o.width) {}

Tensor FeedForward::hidden(const Tensor& x) const {
  const Tensor h = project_in.forward(x);
  switch (kind) {
    case FeedForwardKind::geglu: return h;
    case FeedForwardKind::gelu: return at::gelu(h);
    case FeedForwardKind::gelu_approximate: return at::gelu(h, "tanh");
    case FeedForwardKind::geglu_approximate: break;
  }
  return h * at::sigmoid(h * 1.702);
}

Tensor FeedForward::forward(const Tensor& x) const { return project_out.forward(hidden(x)); }

void FeedForward::accumulate(Tensor& sum, const Tensor& x) const { project_out.accumulate(sum, hidden(x)); }

}  // namespace t2v::nn
