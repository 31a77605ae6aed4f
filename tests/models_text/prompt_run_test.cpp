// SPDX-License-Identifier: Apache-2.0
// Whole runs with weighted and long prompts and with prompts by frame, against scripts/golden/prompts.py.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include "models/text/run_text.hpp"
#include "pipelines/whole_run.hpp"

namespace t2v::test {
namespace {

using testing::HasSubstr;

const io::Json& golden() {
  static const io::Json document = io::load_json(fs::path(T2V_TEST_DATA) / "golden/prompts/prompts.json");
  return document;
}

std::vector<float> wanted_latents(const std::string& name) {
  const auto file = io::open_tensor_file(fs::path(T2V_TEST_DATA) / "golden/prompts/prompts.safetensors");
  const auto& view = file->tensors().find(name + ".latents")->second;
  const auto* values = reinterpret_cast<const float*>(view.bytes.data());
  return {values, values + view.bytes.size() / sizeof(float)};
}

class PromptRun : public testing::Test {
 protected:
  PromptRun() {
    write_tiny_checkpoint(folder_.path(), pipelines_golden(), golden()["scheduler"]);
    model_ = open_model({.model = folder_.path().string(), .device = "cpu"});
    pipeline_ = model_->load(progress_);
  }
  std::vector<float> latents(const Request& request) {
    return pipeline_->denoise(model_->plan(request), progress_).data;
  }
  static Request request(const std::string& name) {
    const io::Json& run = golden()["runs"][name];
    Request request = request_of(run);
    if (run.contains("clip_skip")) request.clip_skip = run["clip_skip"].get<int64_t>();
    if (run.contains("prompt_at")) request.prompt_at = run["prompt_at"].get<decltype(request.prompt_at)>();
    return request;
  }
  Error refusal(const Request& request) {
    try {
      model_->plan(request);
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorCode::internal, "not refused");
  }

  const TempFolder folder_;
  Progress progress_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Pipeline> pipeline_;
};

TEST_F(PromptRun, equals_the_reference) {
  for (const auto& [name, run] : golden()["runs"].items()) {
    // Whole fp32 runs: the project's promise.
    EXPECT_LE(relative_l2(latents(request(name)), wanted_latents(name)), 1e-4) << name;
  }
}

TEST_F(PromptRun, plain_brackets_are_text_and_weighted_ones_are_not) {
  Request plain = request("brackets");
  const auto as_text = latents(plain);
  plain.prompt_syntax = "plain";
  EXPECT_EQ(latents(plain), as_text);
  plain.prompt_syntax = "weighted";
  EXPECT_NE(latents(plain), as_text);
}

TEST_F(PromptRun, a_long_prompt_is_cut_when_read_as_diffusers_does) {
  Request cut = request("long");
  cut.prompt_syntax = "plain";
  Request longer = cut;
  longer.prompt += ", and more that nobody reads";
  EXPECT_EQ(latents(cut), latents(longer));
  EXPECT_GT(relative_l2(latents(cut), wanted_latents("long")), 1e-3);
}

TEST_F(PromptRun, one_text_in_every_frame_is_a_prompt) {
  Request by_frame = request("weighted");
  const auto whole = latents(by_frame);
  by_frame.prompt_at = {{1, by_frame.prompt}, {2, by_frame.prompt}};
  // The same sums in another order: text by frame is attended frame by frame.
  EXPECT_LE(relative_l2(latents(by_frame), whole), 1e-5);
}

TEST_F(PromptRun, bad_prompts_are_refused_before_anything_is_computed) {
  Request late = request("weighted");
  late.prompt_at = {{3, "too late"}};
  EXPECT_EQ(refusal(late).code(), ErrorCode::usage);
  EXPECT_THAT(refusal(late).what(), HasSubstr("--prompt-at 3: wanted a frame from 0 to 2, got 3"));
  late.prompt_at = {{1, "a"}, {1, "b"}};
  EXPECT_THAT(refusal(late).what(), HasSubstr("--prompt-at 1: wanted one text a frame, got two"));
  Request heavy = request("weighted");
  heavy.negative_prompt = "(a:500)";
  EXPECT_EQ(refusal(heavy).code(), ErrorCode::usage);
  Request odd = request("weighted");
  odd.prompt_syntax = "fancy";
  EXPECT_EQ(refusal(odd).code(), ErrorCode::usage);
}

TEST(RunText, states_of_a_window_are_those_of_its_frames) {
  models::text::RunText text;
  text.prompt = at::arange(8, at::TensorOptions().dtype(at::kFloat)).view({4, 1, 2});
  text.negative = at::full({1, 1, 2}, -1, at::TensorOptions().dtype(at::kFloat));
  const at::Tensor whole = text.states();
  EXPECT_EQ(whole.sizes(), (std::vector<int64_t>{8, 1, 2}));
  const std::vector<int64_t> window{3, 0};
  const at::Tensor part = text.states(window);
  EXPECT_TRUE(at::equal(part, at::tensor({-1.0F, -1.0F, -1.0F, -1.0F, 6.0F, 7.0F, 0.0F, 1.0F}).view({4, 1, 2})));
  text.prompt = text.prompt.narrow(0, 0, 1);
  EXPECT_EQ(text.states(window).sizes(), (std::vector<int64_t>{2, 1, 2}));
}

}  // namespace
}  // namespace t2v::test
