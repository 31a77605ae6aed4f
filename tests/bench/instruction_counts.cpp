// SPDX-License-Identifier: Apache-2.0
// Small runs whose instructions valgrind counts, each inside counted_region(), for instruction_counts.py.
#include <cstdio>
#include <functional>
#include <vector>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "media/color.hpp"
#include "models/modelscope/unet3d.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "support/net_golden.hpp"

namespace t2v {
namespace {

using test::formula_tensor;

/// What valgrind counts, and writes down under `name`: it instruments nothing else, which would take longer than the
/// runs. A call through a pointer, so that no compiler moves work across its border.
[[gnu::noinline]] void counted_region([[maybe_unused]] const char* name, const std::function<void()>& work) {
#ifdef CALLGRIND_START_INSTRUMENTATION
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  work();
  asm volatile("" ::: "memory");
  CALLGRIND_DUMP_STATS_AT(name);
  CALLGRIND_STOP_INSTRUMENTATION;
#else
  work();
#endif
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
  counted_region("unet", [&] { unet.forward(sample, timesteps, states); });
}

void count_vae() {
  const io::Json& spec = test::nets_document()["vae"]["basic"];
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]));
  const models::vae::AutoencoderKL vae(models::vae::AutoencoderKLConfig::from(io::Config(spec["config"], "vae")),
                                       store.root());
  const auto latents = formula_tensor("latents", spec["latents"].get<test::Shape>());
  vae.decode(latents);
  counted_region("vae", [&] { vae.decode(latents); });
}

void count_colour() {
  constexpr int64_t kWidth = 256, kHeight = 128;
  std::vector<uint8_t> rgb(3 * kWidth * kHeight, 77), planes(kWidth * kHeight * 3 / 2);
  uint8_t* y = planes.data();
  const media::YuvPlanes out{y, y + kWidth * kHeight, y + kWidth * kHeight * 5 / 4, kWidth, kWidth / 2};
  counted_region("colour", [&] { media::rgb_to_yuv420_bt709(rgb.data(), kWidth, kHeight, out); });
}

}  // namespace
}  // namespace t2v

int main() {
  at::set_num_threads(1);
  const c10::InferenceMode guard;
  t2v::count_unet();
  t2v::count_vae();
  t2v::count_colour();
  std::fflush(nullptr);
  _Exit(0);
}
