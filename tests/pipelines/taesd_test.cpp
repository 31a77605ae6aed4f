// SPDX-License-Identifier: Apache-2.0
// TAESD in the place of a model's autoencoder, through the public API: a whole run equal to diffusers', every form of
// its file, and refusals. And a run that is short of memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "models/vae/image_autoencoder.hpp"
#include "pipelines/whole_run.hpp"
#include "support/svd_checkpoint.hpp"
#include "support/taesd_golden.hpp"
#include "t2v/error.hpp"

namespace t2v::test {
namespace {

using testing::HasSubstr;

Manifest manifest() { return read_manifest(taesd_document()["run"]["tensors"]); }

void write_taesd_folder(const fs::path& folder) {
  write_text(folder / "config.json", taesd_document()["run"]["config"].dump());
  write_formula_checkpoint(folder / "diffusion_pytorch_model.safetensors", manifest());
}

/// In the spelling of its makers: the decoder's list alone, one layer longer at its head.
void write_original_decoder(const fs::path& file) {
  const std::string start = "decoder.layers.";
  TensorList list;
  for (const auto& [name, shape] : manifest()) {
    if (!name.starts_with(start)) continue;
    const size_t dot = name.find('.', start.size());
    const int index = std::stoi(name.substr(start.size(), dot - start.size()));
    list.add(std::to_string(index + 1) + name.substr(dot), shape, formula_weight(name, shape));
  }
  list.write(file);
}

class Taesd : public testing::Test {
 protected:
  void SetUp() override { write_tiny_checkpoint(model_, pipelines_golden(), run_["scheduler"]); }

  LoadOptions options(const fs::path& vae = {}) const {
    return {.model = model_.string(), .vae = vae, .device = "cpu"};
  }
  Request request() const {
    Request request = request_of(run_);
    request.video = write_input_video(folder_.path() / "frames", *request.frames, *request.height, *request.width);
    return request;
  }
  /// Frames of the golden latents.
  std::vector<uint8_t> decoded(const LoadOptions& options) const {
    const auto model = open_model(options);
    Progress progress;
    const at::Tensor golden = taesd_expected("video.latents").contiguous();
    const Latents latents{
        golden.sizes().vec(), {golden.const_data_ptr<float>(), golden.const_data_ptr<float>() + golden.numel()}, {}};
    Request plain = request_of(run_);
    plain.strength.reset();
    MemorySink sink;
    model->load(progress, Parts::decoder)->decode(latents, model->plan(plain), sink, progress);
    return sink.rgb;
  }
  /// The largest difference to diffusers' frames.
  static int difference(const std::vector<uint8_t>& frames) {
    const at::Tensor golden = taesd_expected("video.frames").contiguous();
    if (golden.numel() != static_cast<int64_t>(frames.size())) return 256;
    const auto* want = golden.const_data_ptr<uint8_t>();
    int most = 0;
    for (size_t i = 0; i < frames.size(); ++i) most = std::max(most, std::abs(int{frames[i]} - int{want[i]}));
    return most;
  }
  std::string refusal(const LoadOptions& options) const {
    const Error error = error_of([&] { open_model(options); });
    return std::string(error.what()) + (error.hint().empty() ? "" : " hint: " + error.hint());
  }

  TempFolder folder_;
  fs::path model_ = folder_.path() / "model";
  const io::Json& run_ = taesd_document()["run"];
};

TEST_F(Taesd, a_run_from_a_video_equals_diffusers) {
  write_taesd_folder(folder_.path() / "taesd");
  const WholeRunResult result =
      run_and_compare(options(folder_.path() / "taesd"), request(), "taesd/taesd.safetensors", "video");
  EXPECT_LE(result.latents_error, 1e-4);  // the project's promise for whole fp32 runs
  EXPECT_LE(result.frames_error.value_or(256), 1);
}

TEST_F(Taesd, of_the_model_itself_needs_no_flag) {
  fs::remove_all(model_ / "vae");
  write_taesd_folder(model_ / "vae");
  std::string index = read_text(model_ / "model_index.json");
  index.replace(index.find("AutoencoderKL"), std::string("AutoencoderKL").size(), "AutoencoderTiny");
  write_text(model_ / "model_index.json", index);
  EXPECT_LE(difference(decoded(options())), 1);
  EXPECT_EQ(open_model(options())->info().components.back().class_name, "AutoencoderTiny");
}

TEST_F(Taesd, in_one_file_of_either_spelling_needs_nothing_beside_it) {
  write_formula_checkpoint(folder_.path() / "taesd.safetensors", manifest());
  EXPECT_LE(difference(decoded(options(folder_.path() / "taesd.safetensors"))), 1);
  write_original_decoder(folder_.path() / "taesd_decoder.safetensors");
  EXPECT_LE(difference(decoded(options(folder_.path() / "taesd_decoder.safetensors"))), 1);
}

TEST_F(Taesd, a_decoder_alone_is_read_as_such_beside_a_config_and_takes_no_video) {
  write_taesd_folder(folder_.path() / "taesd");  // the published folder holds both
  const fs::path file = folder_.path() / "taesd/taesd_decoder.safetensors";
  write_original_decoder(file);
  EXPECT_LE(difference(decoded(options(file))), 1);
  const Error error = error_of([&] { open_model(options(file))->plan(request()); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("got a decoder alone"));
}

TEST_F(Taesd, is_what_the_plan_counts) {
  write_taesd_folder(folder_.path() / "taesd");
  Request plain = request_of(run_);
  plain.strength.reset();
  const Plan own = open_model(options())->plan(plain);
  const Plan tiny = open_model(options(folder_.path() / "taesd"))->plan(plain);
  EXPECT_GT(tiny.decode_flops, 0);
  EXPECT_NE(tiny.decode_flops, own.decode_flops);
  EXPECT_NE(tiny.memory.decode_peak, own.memory.decode_peak);
  EXPECT_NE(tiny.memory.weights, own.memory.weights);
}

TEST_F(Taesd, Row13_that_does_not_fit_is_refused_by_name) {
  io::Json config = taesd_document()["run"]["config"];
  write_taesd_folder(folder_.path() / "taesd");
  config["num_decoder_blocks"] = {3, 3, 3, 2};
  write_text(folder_.path() / "taesd/config.json", config.dump());
  EXPECT_THAT(refusal(options(folder_.path() / "taesd")), HasSubstr("decoder.layers."));
  config = taesd_document()["run"]["config"];
  config["_class_name"] = "AutoencoderOobleck";
  write_text(folder_.path() / "taesd/config.json", config.dump());
  EXPECT_THAT(refusal(options(folder_.path() / "taesd")),
              HasSubstr("wanted AutoencoderKL or AutoencoderTiny, got 'AutoencoderOobleck'"));
  TensorList wide;  // of another model's latents
  for (const auto& [name, shape] : manifest()) {
    Shape other = shape;
    if (name == "decoder.layers.0.weight") other[1] = 16;
    if (name == "encoder.layers.14.weight" || name == "encoder.layers.14.bias") other[0] = 16;
    wide.add(name, other, formula_weight(name, other));
  }
  wide.write(folder_.path() / "taef1.safetensors");
  EXPECT_THAT(refusal(options(folder_.path() / "taef1.safetensors")),
              HasSubstr("wanted the 16 channels of the autoencoder's latents, got 4"));
  TensorList broken;
  broken.add("1.weight", {16, 4, 3, 3}, std::vector<float>(576));
  broken.add("3.conv.0.weight", {16, 16, 3, 3}, std::vector<float>(2304));
  broken.write(folder_.path() / "broken.safetensors");
  EXPECT_THAT(refusal(options(folder_.path() / "broken.safetensors")), HasSubstr("wanted a tensor 4.weight, got none"));
  EXPECT_THAT(refusal({.model = (folder_.path() / "taef1.safetensors").string(), .device = "cpu"}), HasSubstr("--vae"));
}

TEST_F(Taesd, for_stable_video_diffusion_is_refused_by_name) {
  write_taesd_folder(folder_.path() / "taesd");
  write_svd_checkpoint(folder_.path() / "svd");
  EXPECT_THAT(refusal({.model = (folder_.path() / "svd").string(), .vae = folder_.path() / "taesd", .device = "cpu"}),
              HasSubstr("wanted AutoencoderKLTemporalDecoder, got 'AutoencoderTiny'"));
}

TEST_F(Taesd, a_run_short_of_memory_gives_the_text_encoder_back_and_the_next_one_loads_it_again) {
  const auto model = open_model(options());
  Progress progress;
  const auto pipeline = model->load(progress);
  Plan plan = model->plan({.prompt = "x", .width = 32, .height = 32, .frames = 2, .steps = 1, .seed = 1});
  const auto roomy = pipeline->denoise(plan, progress).data;
  plan.memory.denoise_peak = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(pipeline->denoise(plan, progress).data, roomy);
  EXPECT_EQ(pipeline->denoise(plan, progress).data, roomy) << "loaded again";
  fs::remove_all(model_ / "text_encoder");
  EXPECT_THROW(pipeline->denoise(plan, progress), Error) << "it is in memory still";
}

}  // namespace
}  // namespace t2v::test
