// SPDX-License-Identifier: Apache-2.0
// Small runs whose instructions valgrind counts: instruction_counts NAME runs one of them inside counted_region().
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "media/color.hpp"
#include "models/modelscope/unet3d.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "support/net_golden.hpp"

namespace t2v {
namespace {

using test::formula_tensor;

/// What valgrind counts. A call through a pointer, so that no compiler moves work across its border.
[[gnu::noinline]] void counted_region(const std::function<void()>& work) {
  work();
  asm volatile("" ::: "memory");
}

void count_unet() {
  const io::Json& spec = test::nets_document()["unet"]["basic"];
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]));
  const models::modelscope::UNet3DConditionModel unet(
      models::modelscope::UNet3DConfig::from(io::Config(spec["config"], "unet")), store.root());
  const auto sample = formula_tensor("sample", spec["sample"].get<test::Shape>());
  const auto states = formula_tensor("states", spec["encoder_hidden_states"].get<test::Shape>());
  const auto timesteps = spec["timesteps"].get<std::vector<double>>();
  unet.forward(sample, timesteps, states);  // what happens only once
  counted_region([&] { unet.forward(sample, timesteps, states); });
}

void count_vae() {
  const io::Json& spec = test::nets_document()["vae"]["basic"];
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]));
  const models::vae::AutoencoderKL vae(models::vae::AutoencoderKLConfig::from(io::Config(spec["config"], "vae")),
                                       store.root());
  const auto latents = formula_tensor("latents", spec["latents"].get<test::Shape>());
  vae.decode(latents);
  counted_region([&] { vae.decode(latents); });
}

void count_colour() {
  constexpr int64_t kWidth = 256, kHeight = 128;
  std::vector<uint8_t> rgb(3 * kWidth * kHeight, 77), planes(kWidth * kHeight * 3 / 2);
  uint8_t* y = planes.data();
  const media::YuvPlanes out{y, y + kWidth * kHeight, y + kWidth * kHeight * 5 / 4, kWidth, kWidth / 2};
  counted_region([&] { media::rgb_to_yuv420_bt709(rgb.data(), kWidth, kHeight, out); });
}

}  // namespace
}  // namespace t2v

int main(int argc, char** argv) {
  const std::map<std::string, void (*)()> runs{
      {"unet", t2v::count_unet}, {"vae", t2v::count_vae}, {"colour", t2v::count_colour}};
  const auto run = argc == 2 ? runs.find(argv[1]) : runs.end();
  if (run == runs.end()) {
    std::fprintf(stderr, "usage: instruction_counts unet|vae|colour\n");
    return 2;
  }
  at::set_num_threads(1);
  const c10::InferenceMode guard;
  run->second();
  std::fflush(nullptr);
  _Exit(0);
}
