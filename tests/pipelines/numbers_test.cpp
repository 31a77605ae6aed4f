// SPDX-License-Identifier: Apache-2.0
// Real networks whose weights no fp16 holds, whose weights are broken, and runs that go on from the middle.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>

#include <fstream>

#include "core/log.hpp"
#include "engine/latents.hpp"
#include "io/tensor_file.hpp"
#include "pipelines/whole_run.hpp"
#include "sampling/scheduler.hpp"
#include "t2v/error.hpp"

namespace t2v::test {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Rewrites one fp32 tensor of a weight file.
void change_tensor(const fs::path& file, const std::string& name, const std::function<float(float)>& change) {
  std::vector<std::vector<std::byte>> data;
  std::vector<io::NamedTensor> tensors;
  {
    const auto old = io::open_tensor_file(file);
    ASSERT_TRUE(old->tensors().contains(name)) << name;
    for (const auto& [key, view] : old->tensors()) {
      data.emplace_back(view.bytes.begin(), view.bytes.end());
      if (key == name) {
        for (size_t i = 0; i + 4 <= data.back().size(); i += 4) {
          float value = 0;
          std::memcpy(&value, data.back().data() + i, 4);
          value = change(value);
          std::memcpy(data.back().data() + i, &value, 4);
        }
      }
      tensors.push_back({key, {view.dtype, view.shape, {}, std::span(data.back())}});
    }
  }
  io::write_safetensors(file, tensors, {});
}

/// The layers after these tensors normalise, so their scale does no harm in fp32; in fp16 they are Inf.
float too_large(float value) { return value * 1e7F; }
float broken(float) { return std::numeric_limits<float>::quiet_NaN(); }

struct Part {
  const char* file;
  const char* tensor;
};
constexpr Part kText{"text_encoder/model.safetensors", "embeddings.position_embedding.weight"};
constexpr Part kUNet{"unet/diffusion_pytorch_model.safetensors", "conv_in.weight"};
constexpr Part kVae{"vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight"};

struct Result {
  std::vector<float> latents;
  std::vector<uint8_t> rgb;
  std::string log;
};

class Numbers : public testing::Test {
 protected:
  void SetUp() override { write_anew(); }
  void write_anew() {
    fs::remove_all(folder_.path() / "tokenizer");  // its files are copied, not overwritten
    const io::Json golden = pipelines_golden();
    write_tiny_checkpoint(folder_.path(), golden, golden["runs"]["default"]["scheduler"]);
    Latents noise{.shape = {1, 4, 3, 4, 4}, .data = {}, .settings = {}};
    for (uint64_t i = 0; i < 4 * 3 * 4 * 4; ++i)
      noise.data.push_back(static_cast<float>(formula_uniform(fnv1a64("noise"), i) * 1.7));  // about unit variance
    engine::save_latents(folder_.path() / "noise", noise);
  }
  void change(const Part& part, float (*how)(float)) { change_tensor(folder_.path() / part.file, part.tensor, how); }
  Result run(const std::string& dtype) {
    testing::internal::CaptureStderr();
    log::setup(0, false);  // as the program does: to standard error
    Result result;
    try {
      LoadOptions load;
      load.model = folder_.path().string();
      load.device = "cpu";
      load.dtype = dtype;
      const auto model = open_model(load);
      Request request;
      request.prompt = "a red circle";
      request.width = request.height = 32;
      request.frames = request.steps = 3;
      request.seed = 1;
      request.decode_chunk = 2;
      request.cfg_scale = 1;                            // guidance would multiply the rounding of the half precisions
      request.init_latents = folder_.path() / "noise";  // drawn in fp16, the same seed gives other noise
      const Plan plan = model->plan(request);
      Progress progress;
      const auto pipeline = model->load(progress);
      const Latents latents = pipeline->denoise(plan, progress);
      result.latents = latents.data;
      MemorySink sink;
      pipeline->decode(latents, plan, sink, progress);
      result.rgb = sink.rgb;
    } catch (...) {
      result.log = testing::internal::GetCapturedStderr();
      throw;
    }
    result.log = testing::internal::GetCapturedStderr();
    return result;
  }
  std::string error_of(const std::string& dtype) {
    try {
      run(dtype);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::numbers) << error.what();
      return error.what();
    }
    return "no error";
  }

  const TempFolder folder_;
};

TEST_F(Numbers, half_precisions_run_on_the_cpu) {
  const Result full = run("fp32");
  EXPECT_THAT(run("fp32").log, Not(HasSubstr("fp32")));
  for (const char* dtype : {"fp16", "bf16"}) {
    const Result half = run(dtype);
    EXPECT_THAT(half.log, Not(HasSubstr("again"))) << "nothing to mend";
    // Eleven and eight bits of mantissa through three steps.
    EXPECT_LT(relative_l2(half.latents, full.latents), std::string(dtype) == "fp16" ? 0.02 : 0.1) << dtype;
  }
}

TEST_F(Numbers, Row46_text_that_overflows_fp16_is_encoded_in_fp32) {
  change(kText, too_large);
  const Result full = run("fp32"), half = run("fp16");
  EXPECT_THAT(half.log, HasSubstr("text: fp16 can not hold its numbers; computed again in fp32"));
  EXPECT_THAT(half.log, Not(HasSubstr("step")));
  EXPECT_LT(relative_l2(half.latents, full.latents), 0.02);
}

TEST_F(Numbers, Row43_steps_that_overflow_fp16_are_done_again_in_fp32_and_named) {
  change(kUNet, too_large);
  const Result full = run("fp32"), half = run("fp16");
  for (const char* step : {"1", "2", "3"})
    EXPECT_THAT(half.log, HasSubstr(std::string("denoise: step ") + step + " of 3: fp16 can not hold its numbers"));
  EXPECT_LT(relative_l2(half.latents, full.latents), 0.02) << "the weights come from the file, not from fp16";
  EXPECT_EQ(run("fp16").latents, half.latents);
}

TEST_F(Numbers, Row44_frames_that_overflow_fp16_are_decoded_in_fp32) {
  change(kVae, too_large);
  // Where the config says so, the autoencoder is in fp32 from the start on a CPU.
  const fs::path config_file = folder_.path() / "vae/config.json";
  io::Json config = io::load_json(config_file);
  config["force_upcast"] = false;
  std::ofstream(config_file) << config.dump();
  const Result full = run("fp32"), half = run("fp16");
  for (const char* frame : {"0", "1"})
    EXPECT_THAT(half.log, HasSubstr(std::string("decode: frame ") + frame + ": fp16 can not hold its numbers"));
  EXPECT_THAT(half.log, Not(HasSubstr("frame 2"))) << "after a chunk without a good frame fp16 is not tried";
  int largest = 0;
  for (size_t i = 0; i < full.rgb.size(); ++i) largest = std::max(largest, std::abs(full.rgb[i] - half.rgb[i]));
  EXPECT_LE(largest, 24) << "fp16 latents, fp32 decoding";
}

TEST_F(Numbers, Row43_weights_that_are_no_numbers_end_the_run_and_name_the_place) {
  for (const char* dtype : {"fp32", "fp16"}) {
    const std::string again = std::string(dtype) == "fp16" ? " and again in fp32" : "";
    const std::string wanted = ": wanted finite values, got NaN or Inf in ";
    change(kUNet, broken);
    EXPECT_EQ(error_of(dtype), "numbers went wrong: denoise: step 1 of 3" + wanted + dtype + again);
    write_anew();
    change(kVae, broken);
    EXPECT_THAT(error_of(dtype), HasSubstr("numbers went wrong: decode: frame"));
    write_anew();
    change(kText, broken);
    EXPECT_EQ(error_of(dtype), "numbers went wrong: text" + wanted + dtype + again);
    write_anew();
  }
}

/// Keeps the state after one step.
class OneState final : public Progress {
 public:
  explicit OneState(int64_t step) : step_(step) {}
  bool wants_state(int64_t done, int64_t) override { return done == step_; }
  void keep_state(RunState state) override { kept = std::move(state); }
  std::optional<RunState> kept;

 private:
  int64_t step_;
};

class FromState final : public Progress {
 public:
  explicit FromState(const RunState& state) : state_(state) {}
  const RunState* resume_state() override { return &state_; }

 private:
  const RunState& state_;
};

TEST_F(Numbers, a_run_continues_bit_for_bit_with_every_sampler_that_the_checkpoint_takes) {
  LoadOptions load;
  load.model = folder_.path().string();
  load.device = "cpu";
  const auto model = open_model(load);
  Progress progress;
  const auto pipeline = model->load(progress), other = model->load(progress);
  int samplers = 0;
  for (const auto& row : sampling::scheduler_rows()) {
    Request request;
    request.prompt = "x";
    request.width = request.height = 32;
    request.frames = 2;
    request.steps = 5;
    request.seed = 3;
    request.sampler = row.name;
    request.eta = 0.5;
    Plan plan;
    try {
      plan = model->plan(request);
    } catch (const Error&) {
      continue;  // of flow models
    }
    ++samplers;
    OneState keeping(3);
    const Latents want = pipeline->denoise(plan, keeping);
    ASSERT_TRUE(keeping.kept.has_value()) << row.name;
    FromState from(*keeping.kept);
    EXPECT_EQ(other->denoise(plan, from).data, want.data) << row.name;
  }
  EXPECT_GE(samplers, 14);
}

}  // namespace
}  // namespace t2v::test
