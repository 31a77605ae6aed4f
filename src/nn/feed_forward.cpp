// SPDX-License-Identifier: Apache-2.0
#include "nn/feed_forward.hpp"

#include <string>
#include <vector>

#include <ATen/ops/gelu.h>
#include <ATen/ops/sigmoid.h>

#include "core/text.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::nn {

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

FeedForward::FeedForward(const Weights& w, const FeedForwardOptions& o)
    : kind(o.kind),
      project_in(w.at("net.0.proj"), o.width, o.width * o.mult * (o.kind == FeedForwardKind::geglu ? 2 : 1)),
      project_out(w.at("net.2"), o.width * o.mult, o.width) {}

Tensor FeedForward::forward(const Tensor& x) const {
  const Tensor h = project_in.forward(x);
  switch (kind) {
    case FeedForwardKind::geglu: {
      const int64_t width = h.size(-1) / 2;  // [hidden, gate], in this order
      return project_out.forward(at::gelu(h.narrow(-1, width, width)).mul_(h.narrow(-1, 0, width)));
    }
    case FeedForwardKind::gelu: return project_out.forward(at::gelu(h));
    case FeedForwardKind::gelu_approximate: return project_out.forward(at::gelu(h, "tanh"));
    case FeedForwardKind::geglu_approximate: break;
  }
  return project_out.forward(h * at::sigmoid(h * 1.702));
}

}  // namespace t2v::nn
