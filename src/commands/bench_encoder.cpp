// SPDX-License-Identifier: Apache-2.0
#include "commands/bench_encoder.hpp"

#include <chrono>
#include <functional>
#include <memory>

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include "engine/memory_probe.hpp"
#include "models/vae/image_autoencoder.hpp"
#include "models/vae/placements.hpp"
#include "models/vae/temporal_decoder.hpp"
#include "tensor/op_profile.hpp"
#include "tensor/rng.hpp"

namespace t2v::commands {

namespace {

namespace vae = models::vae;

struct Encoder {
  std::function<at::Tensor(const at::Tensor&)> encode;  // [1, 3, H, W] -> [1, M, h, w]
  bool force_upcast = false;
};

Encoder make_encoder(const io::Component& part, const Weights& w) {
  if (part.class_name == "AutoencoderKLTemporalDecoder") {
    const auto config = vae::temporal_decoder_config(part.config());
    const auto network = std::make_shared<vae::AutoencoderKLTemporalDecoder>(config, w);
    return {[network](const at::Tensor& image) { return network->encode(image); }, config.force_upcast};
  }
  const std::shared_ptr<vae::ImageAutoencoder> network = vae::image_autoencoder(part, w);
  return {[network](const at::Tensor& image) { return network->encode(image); }, network->latent_space().force_upcast};
}

}  // namespace

std::optional<EncodeTimes> encode_times(const io::Component& part, const Plan& plan, const Placement& placement,
                                        bool profiles) {
  if (part.config().get_bool("decoder_only", false)) return std::nullopt;
  const c10::InferenceMode guard;
  constexpr int kPasses = 4;  // the first also warms caches
  const std::vector<int64_t> shape{1, 3, *plan.request.height, *plan.request.width};
  EncodeTimes out;
  WeightStore header = vae::header_store(part);
  const Encoder shapes = make_encoder(part, header.root());
  out.flops = engine::probe([&] { shapes.encode(engine::meta(shape)); }).flops;
  const Placement where = models::vae_placements(placement, shapes.force_upcast).encoding;
  WeightStore store(part.weights(), where, vae::rename_old_attention);
  const Encoder encoder = make_encoder(part, store.root());
  const at::Tensor image = Rng(1, c10::kCPU)
                               .normal_like(at::empty(shape, at::TensorOptions().dtype(c10::kFloat)))
                               .to(where.device, where.dtype);
  for (int pass = 0; pass < kPasses; ++pass) {
    std::optional<OpProfile> profile;
    if (profiles && pass + 1 == kPasses) profile.emplace();
    const double cpu_before = process_cpu_seconds();
    const auto start = std::chrono::steady_clock::now();
    encoder.encode(image).cpu();  // waits for a device
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double cpu = process_cpu_seconds() - cpu_before;
    if (pass == 0) continue;
    out.times.steps.push_back(seconds);
    out.times.steps_cpu.push_back(cpu);
    if (!profile) continue;
    out.times.operations = profile->totals();
    out.times.profiled_seconds = seconds;
    out.times.profiled_cpu_seconds = cpu;
  }
  return out;
}

}  // namespace t2v::commands
