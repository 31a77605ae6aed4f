// SPDX-License-Identifier: Apache-2.0
#include "models/vae/image_autoencoder.hpp"

#include <array>
#include <string_view>
#include <vector>

#include "core/text.hpp"
#include "io/json_error.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "models/vae/autoencoder_tiny.hpp"
#include "t2v/error.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::vae {

namespace {

[[noreturn]] void refuse(const io::Component& component, const std::string& wanted, const std::string& got) {
  throw Error(ErrorCode::unsupported,
              "unsupported autoencoder: " + component.path.string() + ": wanted " + wanted + ", got " + got);
}

std::string named(const io::Component& component) {
  std::string text = io::printable(component.class_name, 80);
  return text.insert(0, 1, '\'').append(1, '\'');
}

template <class Network, class NetworkConfig>
std::unique_ptr<ImageAutoencoder> build(const io::Component& component, const Weights& w) {
  const NetworkConfig config = NetworkConfig::from(component.config());
  if (config.in_channels != 3 || config.out_channels != 3) {
    refuse(component, "pictures of 3 colours",
           std::to_string(config.in_channels) + " in and " + std::to_string(config.out_channels) + " out");
  }
  return std::make_unique<Network>(config, w);
}

struct Row {
  std::string_view class_name;
  std::unique_ptr<ImageAutoencoder> (*build)(const io::Component&, const Weights&);
};

constexpr std::array kClasses{
    Row{"AutoencoderKL", build<AutoencoderKL, AutoencoderKLConfig>},
    Row{"AutoencoderTiny", build<AutoencoderTiny, AutoencoderTinyConfig>},
};

}  // namespace

Tensor ImageAutoencoder::scale(const Tensor& latents) const {
  return (latents - latents_.shift_factor) * latents_.scaling_factor;
}

Tensor ImageAutoencoder::unscale(const Tensor& latents) const {
  return latents / latents_.scaling_factor + latents_.shift_factor;
}

void expect_class(const io::Component& component, const std::string& known) {
  if (component.class_name.empty() || component.class_name == known) return;
  refuse(component, known, named(component));
}

std::unique_ptr<ImageAutoencoder> image_autoencoder(const io::Component& component, const Weights& w) {
  if (component.class_name.empty()) return kClasses.front().build(component, w);
  std::vector<std::string> known;
  for (const Row& row : kClasses) {
    if (row.class_name == component.class_name) return row.build(component, w);
    known.emplace_back(row.class_name);
  }
  refuse(component, join(known, " or "), named(component));
}

std::string rename_old_attention(const std::string& name) {
  static constexpr std::array<std::array<std::string_view, 2>, 4> kNames{
      {{"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}}};
  for (const auto& [old_name, new_name] : kNames) {
    const std::string part = ".attentions.0." + std::string(old_name) + ".";
    const size_t at = name.find(part);
    if (at != std::string::npos) {
      return name.substr(0, at) + ".attentions.0." + std::string(new_name) + name.substr(at + part.size() - 1);
    }
  }
  return name;
}

WeightStore header_store(const io::Component& component) {
  return WeightStore::header_only(component.weights(), rename_old_attention);
}

std::unique_ptr<ImageAutoencoder> load(const io::Component& component, const Placement& placement) {
  WeightStore store(component.weights(), placement, rename_old_attention);
  auto network = image_autoencoder(component, store.root());
  store.expect_all_taken();
  if (placement.dtype != c10::kFloat) {
    network->load_fp32 = [component, device = placement.device] { return load(component, {device, c10::kFloat}); };
  }
  return network;
}

}  // namespace t2v::models::vae
