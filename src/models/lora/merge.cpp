// SPDX-License-Identifier: Apache-2.0
#include "models/lora/merge.hpp"

#include <string_view>
#include <vector>

#include "core/text.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::lora {

namespace {

using at::Tensor;
using Shape = std::vector<int64_t>;

/// From axis `first` on, without the 1s at the end: a linear layer and a 1x1 convolution are the same.
Shape tail(at::IntArrayRef shape, size_t first) {
  if (shape.size() <= first) return {};
  Shape out(shape.begin() + static_cast<std::ptrdiff_t>(first), shape.end());
  while (!out.empty() && out.back() == 1) out.pop_back();
  return out;
}

bool starts_with(at::IntArrayRef shape, int64_t first, int64_t second) {
  return shape.size() >= 2 && shape[0] == first && shape[1] == second;
}

std::string differ(std::string_view what, Shape start, const Shape& rest, at::IntArrayRef got) {
  start.insert(start.end(), rest.begin(), rest.end());
  return std::string(what) + ": wanted " + join_ints(start) + ", got " + join_ints(got);
}

/// What a view of the LoRA file holds, in fp32.
Tensor floats(const io::TensorView& view, const std::shared_ptr<const io::LoraFile>& owner) {
  // The tensor must keep the mapping alive; an aliasing pointer says so without copying.
  const std::shared_ptr<const io::TensorFile> file(owner, &owner->file());
  return as_tensor(view, file).to(at::kFloat).contiguous();
}

}  // namespace

std::string mismatch(const io::LoraModule& module, at::IntArrayRef shape) {
  if (module.diff && tail(module.diff->shape, 0) != tail(shape, 0)) {
    return differ("diff", shape.vec(), {}, module.diff->shape);
  }
  if (!module.down) return {};
  const Shape &up = module.up->shape, &down = module.down->shape;
  if (shape.size() < 2) return differ("weight", shape.vec(), {}, up) + " times " + join_ints(down);
  const int64_t out = shape[0], in = shape[1], rank = down[0];
  const Shape kernel = tail(shape, 2);
  int64_t up_rank = rank;
  if (module.mid) {
    const Shape& mid = module.mid->shape;
    up_rank = mid.empty() ? 0 : mid[0];
    if (!starts_with(mid, up_rank, rank) || tail(mid, 2) != kernel) return differ("mid", {up_rank, rank}, kernel, mid);
  }
  if (!starts_with(up, out, up_rank) || !tail(up, 2).empty()) return differ("up", {out, up_rank}, {}, up);
  const Shape down_kernel = module.mid ? Shape{} : kernel;
  if (!starts_with(down, rank, in) || tail(down, 2) != down_kernel) {
    return differ("down", {rank, in}, down_kernel, down);
  }
  return {};
}

void add_to_weight(Tensor& weight, const io::LoraModule& module, double strength,
                   const std::shared_ptr<const io::LoraFile>& owner) {
  if (module.diff) weight.add_(floats(*module.diff, owner).view(weight.sizes()), strength);
  if (!module.down) return;
  const Tensor up = floats(*module.up, owner).flatten(1);  // [out, rank]
  const double scale = strength * module.scale;
  Tensor rows = weight.view({weight.size(0), -1});  // [out, in * kernel]
  if (!module.mid) {
    rows.addmm_(up, floats(*module.down, owner).flatten(1), /*beta=*/1, scale);
  } else {
    // Tucker form (LyCORIS' LoCon): up [out, a], mid [a, b, kernel], down [b, in]; the kernel lies behind `in`.
    const Tensor down = floats(*module.down, owner).flatten(1);  // [b, in]
    const Tensor stored = floats(*module.mid, owner);
    const Tensor mid = stored.reshape({stored.size(0), stored.size(1), -1});                        // [a, b, kernel]
    const Tensor inner = mid.transpose(1, 2).matmul(down).transpose(1, 2).contiguous().flatten(1);  // [a, in * kernel]
    rows.addmm_(up, inner, /*beta=*/1, scale);
  }
}

void add_to_bias(Tensor& bias, const io::LoraModule& module, double strength,
                 const std::shared_ptr<const io::LoraFile>& owner) {
  bias.add_(floats(*module.bias_diff, owner).view(bias.sizes()), strength);
}

}  // namespace t2v::models::lora
