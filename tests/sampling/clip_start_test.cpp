// SPDX-License-Identifier: Apache-2.0
// What long clips begin from, against diffusers (scripts/golden/clips.py), and camera warps.
#include <cmath>
#include <filesystem>
#include <set>

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "io/tensor_file.hpp"
#include "sampling/camera.hpp"
#include "sampling/clip_noise.hpp"
#include "sampling/free_init.hpp"
#include "tensor/operators.hpp"

namespace t2v::sampling::test {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(T2V_TEST_DATA) / "golden/clips";
const c10::Device kCpu(c10::kCPU);

const io::Json& cases() {
  static const io::Json json = io::load_json(kFolder / "cases.json");
  return json;
}

at::Tensor expected(const std::string& name) {
  const auto file = io::open_tensor_file(kFolder / "values.safetensors");
  const auto& entry = file->tensors().at(name);
  return at::from_blob(const_cast<std::byte*>(entry.bytes.data()), entry.shape, at::TensorOptions().dtype(c10::kFloat))
      .clone();
}

FreeInitOptions options_of(const io::Json& entry) {
  const io::Config given(entry, "case");
  FreeInitOptions options;
  const std::string method = given.get_string("method", "butterworth");
  options.filter = method == "gaussian" ? FrequencyFilter::gaussian
                   : method == "ideal"  ? FrequencyFilter::ideal
                                        : FrequencyFilter::butterworth;
  options.order = given.get_double("order", 4);
  options.space_cutoff = given.get_double("spatial_stop_frequency", 0.25);
  options.time_cutoff = given.get_double("temporal_stop_frequency", 0.25);
  return options;
}

double largest(const at::Tensor& difference) { return difference.abs().max().item<double>(); }

TEST(FreeNoise, equals_diffusers_bit_for_bit_in_any_layout) {
  for (const auto& [name, entry] : cases()["freenoise"].items()) {
    const ClipNoiseOptions options{ClipNoise::freenoise, entry["window"].get<int64_t>(),
                                   entry["stride"].get<int64_t>()};
    const int64_t frames = entry["frames"].get<int64_t>();
    Rng rng(cases()["seed"].get<uint64_t>(), kCpu);
    const at::Tensor got = draw_clip_noise(options, {1, 2, frames, 2, 3}, 2, c10::kFloat, kCpu, rng);
    EXPECT_TRUE(at::equal(got, expected("freenoise." + name))) << name;
  }
}

TEST(FreeNoise, holds_only_the_first_windows_frames) {
  Rng rng(3, kCpu);
  const at::Tensor noise = draw_clip_noise({ClipNoise::freenoise, 8, 2}, {40, 4, 2, 2}, 0, c10::kFloat, kCpu, rng);
  std::set<float> firsts;
  for (int64_t f = 0; f < 40; ++f) firsts.insert(noise[f][0][0][0].item<float>());
  EXPECT_EQ(firsts.size(), 8U);
  EXPECT_FALSE(at::equal(noise.narrow(0, 0, 32), noise.narrow(0, 8, 32)));
}

TEST(ClipNoise, of_a_clip_that_fits_is_plain_noise) {
  for (const ClipNoise kind : {ClipNoise::random, ClipNoise::freenoise, ClipNoise::repeat}) {
    Rng rng(3, kCpu), plain(3, kCpu);
    EXPECT_TRUE(at::equal(draw_clip_noise({kind, 8, 2}, {8, 4, 2, 2}, 0, c10::kFloat, kCpu, rng),
                          plain.normal({8, 4, 2, 2}, c10::kFloat, kCpu)));
  }
}

TEST(ClipNoise, repeats_the_window) {
  Rng rng(3, kCpu);
  const at::Tensor noise = draw_clip_noise({ClipNoise::repeat, 4, 1}, {1, 3, 10, 2, 2}, 2, c10::kFloat, kCpu, rng);
  EXPECT_TRUE(at::equal(noise.narrow(2, 0, 4), noise.narrow(2, 4, 4)));
  EXPECT_TRUE(at::equal(noise.narrow(2, 0, 2), noise.narrow(2, 8, 2)));
}

TEST(FreeInit, filters_equal_diffusers) {
  for (const auto& [name, entry] : cases()["free_init"].items()) {
    const auto shape = entry["shape"].get<std::vector<int64_t>>();
    const at::Tensor got = low_pass_filter(options_of(entry), shape[0], shape[1], shape[2]);
    // Both compute in double and store fp32.
    EXPECT_LE(largest(got - expected("filter." + name)), 1e-7) << name;
  }
}

TEST(FreeInit, next_noise_equals_diffusers_in_any_layout) {
  const io::Config scheduler(cases()["scheduler"], "scheduler_config.json");
  for (const auto& [name, entry] : cases()["free_init"].items()) {
    const auto size = entry["shape"].get<std::vector<int64_t>>();
    const std::vector<int64_t> shape{1, 2, size[0], size[1], size[2]};
    Rng rng(cases()["seed"].get<uint64_t>(), kCpu);
    const at::Tensor noise = rng.normal(shape, c10::kFloat, kCpu), clip = rng.normal(shape, c10::kFloat, kCpu);
    const at::Tensor fresh = rng.normal(shape, c10::kFloat, kCpu);
    const at::Tensor filter = low_pass_filter(options_of(entry), size[0], size[1], size[2]);
    const at::Tensor diffused = diffuse_fully(clip, noise, scheduler);
    // Forward and inverse FFT in fp32.
    EXPECT_LE(largest(mix_frequencies(diffused, fresh, filter, 2) - expected("again." + name)), 2e-6) << name;
    const at::Tensor frames_first =
        mix_frequencies(diffused.transpose(1, 2), fresh.transpose(1, 2), filter, 1).transpose(1, 2);
    EXPECT_LE(largest(frames_first - expected("again." + name)), 2e-6) << name;
  }
}

TEST(FreeInit, keeps_unit_variance) {
  const at::Tensor low = at::randn({1, 4, 16, 16, 16}), high = at::randn({1, 4, 16, 16, 16});
  const at::Tensor mixed = mix_frequencies(low, high, low_pass_filter({}, 16, 16, 16), 2);
  // The band where both are damped loses a little: Butterworth of order 4 is steep.
  EXPECT_NEAR(mixed.std().item<double>(), 1.0, 0.05);
}

// Camera -------------------------------------------------------------------------------------------------------------

/// A soft spot at (x, y), in latent pixels. [1, 1, frames, 16, 16]
at::Tensor spots(int64_t frames, double x, double y) {
  const at::Tensor axis = at::arange(16, at::TensorOptions().dtype(c10::kFloat));
  const at::Tensor spot = at::exp(((axis - x).pow(2).view({1, 16}) + (axis - y).pow(2).view({16, 1})) / -4.0);
  return spot.expand({1, 1, frames, 16, 16}).contiguous();
}

struct Spot {
  double x, y, mass;
};
Spot find_spot(const at::Tensor& frame) {  // [1, 1, 16, 16]
  const at::Tensor image = frame.view({16, 16});
  const at::Tensor axis = at::arange(16, at::TensorOptions().dtype(c10::kFloat));
  // The power leaves the peak: what the border reflects of the spot's tail is not the spot.
  const at::Tensor peak = image.abs().pow(8);
  const double sum = peak.sum().item<double>();
  return {(peak.sum(0) * axis).sum().item<double>() / sum, (peak.sum(1) * axis).sum().item<double>() / sum,
          image.sum().item<double>()};
}

CameraMove word(const std::string& name) {
  for (const auto& row : camera_words()) {
    if (row.name == name) return row.move;
  }
  return {};
}

Spot last_spot(const std::string& name, double x, double y) {
  const at::Tensor moved = warp_clip(spots(5, x, y), word(name), 2, /*loop=*/false);
  return find_spot(moved.select(2, 4));
}

TEST(Camera, pans_and_tilts_move_the_content_the_other_way_by_a_quarter) {
  EXPECT_NEAR(last_spot("pan-left", 6, 7).x, 10, 0.1);
  EXPECT_NEAR(last_spot("pan-right", 10, 7).x, 6, 0.1);
  EXPECT_NEAR(last_spot("tilt-up", 7, 6).y, 10, 0.1);
  EXPECT_NEAR(last_spot("tilt-down", 7, 10).y, 6, 0.1);
}

TEST(Camera, zooms_scale_about_the_centre) {
  const double mass = find_spot(spots(1, 7.5, 7.5).select(2, 0)).mass;
  const Spot in = last_spot("zoom-in", 7.5, 7.5), out = last_spot("zoom-out", 7.5, 7.5);
  EXPECT_NEAR(in.mass / mass, std::exp(2 * 0.4), 0.1);
  EXPECT_NEAR(out.mass / mass, std::exp(-2 * 0.4), 0.05);
  EXPECT_NEAR(in.x, 7.5, 0.05);
}

TEST(Camera, rolling_clockwise_turns_the_content_counter_clockwise) {
  // Right of the centre: counter-clockwise on the screen is upwards, and y points down.
  EXPECT_LT(last_spot("roll-cw", 11.5, 7.5).y, 6.6);
  EXPECT_GT(last_spot("roll-ccw", 11.5, 7.5).y, 8.4);
}

TEST(Camera, moves_evenly_from_an_untouched_first_frame) {
  const at::Tensor still = spots(5, 6, 7);
  const at::Tensor moved = warp_clip(still, word("pan-left"), 2, false);
  EXPECT_TRUE(at::equal(moved.select(2, 0), still.select(2, 0)));
  for (int64_t f = 0; f < 5; ++f) EXPECT_NEAR(find_spot(moved.select(2, f)).x, 6 + static_cast<double>(f), 0.1);
}

TEST(Camera, comes_back_in_a_loop) {
  const at::Tensor moved = warp_clip(spots(8, 6, 7), word("pan-left"), 2, true);
  EXPECT_NEAR(find_spot(moved.select(2, 4)).x, 10, 0.1);
  EXPECT_NEAR(find_spot(moved.select(2, 7)).x, find_spot(moved.select(2, 1)).x, 0.01);
}

TEST(Camera, words_add_up_in_any_layout) {
  const at::Tensor still = spots(5, 6, 6);
  const CameraMove both = word("pan-left") + word("tilt-up");
  const at::Tensor moved = warp_clip(still, both, 2, false);
  const Spot spot = find_spot(moved.select(2, 4));
  EXPECT_NEAR(spot.x, 10, 0.1);
  EXPECT_NEAR(spot.y, 10, 0.1);
  EXPECT_TRUE(at::equal(warp_clip(still.permute({2, 0, 1, 3, 4}).contiguous(), both, 0, false).permute({1, 2, 0, 3, 4}),
                        moved));
}

}  // namespace
}  // namespace t2v::sampling::test
