// SPDX-License-Identifier: Apache-2.0
#include "engine/latents.hpp"

#include <cstring>

#include <ATen/ops/empty.h>

#include "core/text.hpp"
#include "engine/run_state.hpp"
#include "io/tensor_file.hpp"
#include "t2v/error.hpp"
#include "tensor/weights.hpp"

namespace t2v::engine {

Latents to_latents(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(c10::kCPU, c10::kFloat).contiguous();
  Latents latents;
  latents.shape.assign(plain.sizes().begin(), plain.sizes().end());
  const auto* data = plain.const_data_ptr<float>();
  latents.data.assign(data, data + plain.numel());
  return latents;
}

at::Tensor to_tensor(const Latents& latents) {
  at::Tensor tensor = at::empty(latents.shape, at::TensorOptions().dtype(c10::kFloat));
  if (static_cast<size_t>(tensor.numel()) != latents.data.size()) {
    throw Error(ErrorCode::usage, "bad latents: shape " + join_ints(latents.shape) + ": wanted " +
                                      std::to_string(tensor.numel()) + " numbers, got " +
                                      std::to_string(latents.data.size()));
  }
  std::memcpy(tensor.mutable_data_ptr<float>(), latents.data.data(), latents.data.size() * sizeof(float));
  return tensor;
}

void save_latents(const std::filesystem::path& file, const Latents& latents) {
  const io::NamedTensor tensor{
      "latents", {io::DType::f32, latents.shape, {}, std::as_bytes(std::span<const float>(latents.data))}};
  io::write_safetensors(file, {&tensor, 1}, {{"settings", latents.settings}});
}

Latents load_latents(const std::filesystem::path& file) {
  const auto tensors = io::open_tensor_file(file);
  const auto found = tensors->tensors().find("latents");
  if (found == tensors->tensors().end() || found->second.shape.size() < 4) {
    throw Error(ErrorCode::bad_input,
                "bad latents: " + file.string() + ": wanted a tensor 'latents' of 4 or 5 axes, got " +
                    (found == tensors->tensors().end() ? "none of that name" : join_ints(found->second.shape)),
                about_run_state(*tensors) ? "this run is not finished: t2v --resume " + file.string() + " continues it"
                                          : "such a file is written by --save-latents");
  }
  Latents latents = to_latents(as_tensor(found->second, tensors));
  const auto settings = tensors->metadata().find("settings");
  if (settings != tensors->metadata().end()) latents.settings = settings->second;
  return latents;
}

}  // namespace t2v::engine
