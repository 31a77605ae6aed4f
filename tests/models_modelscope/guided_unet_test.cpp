// SPDX-License-Identifier: Apache-2.0
// Classifier-free guidance around a network: one call of two videos, or two calls, is the same prediction.
#include "models/unet/guided_unet.hpp"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include "models/modelscope/unet3d.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"

namespace t2v::models::modelscope {
namespace {

using test::formula_tensor;
using test::is_close;

struct Plain {
  static Tensor to_video(const Tensor& state) { return state; }
  static Tensor to_state(const Tensor& video) { return video; }
};
using Guided = unet::GuidedUNet<UNet3DConditionModel, Plain>;

std::unique_ptr<UNet3DConditionModel> build(const Placement& placement) {
  const io::Json& golden = test::nets_document()["unet"]["basic"];
  WeightStore store = test::formula_store(test::read_manifest(golden["tensors"]), placement);
  return std::make_unique<UNet3DConditionModel>(UNet3DConfig::from(io::Config(golden["config"], "unet/config.json")),
                                                store.root());
}

class GuidedUNet3D : public testing::Test {
 protected:
  Tensor predict(bool one_batch, const sampling::StepContext& step, bool as_tensors = false) {
    Guided guided(unet, text, request, {.one_batch = one_batch});
    if (!as_tensors) return guided.predict(x, step);
    const auto call = guided.tensor_call(step);
    return call->predict(x, call->time);
  }

  const c10::InferenceMode guard;
  engine::Reloadable<UNet3DConditionModel> unet{Placement{}, build};
  const text::RunText text{formula_tensor("prompt", {1, 7, 16}), formula_tensor("negative", {1, 7, 16})};
  const Request request = [] {
    Request out;
    out.steps = 4;
    out.cfg_scale = 4.0;
    out.guidance_rescale = 0.7;
    out.cfg_from = 0.0;
    out.cfg_until = 0.5;
    out.deepcache = 1;
    return out;
  }();
  const Tensor x = formula_tensor("sample", {1, 4, 2, 8, 8});
};

TEST_F(GuidedUNet3D, is_the_formula_of_the_two_predictions) {
  const sampling::StepContext step{.index = 1, .count = 4, .timestep = 500.0};
  const Tensor with = unet.get().forward(x, 500.0, text.prompt), without = unet.get().forward(x, 500.0, text.negative);
  const Tensor want = sampling::rescale_noise_cfg(sampling::combine_cfg(without, with, 4.0), with, 0.7);
  EXPECT_TRUE(is_close(predict(true, step), want, 1e-5));  // kernels may split a batch of two in other places
  EXPECT_TRUE(is_close(predict(false, step), want, 0.0));
}

TEST_F(GuidedUNet3D, leaves_the_negative_prompt_out_where_the_interval_ends) {
  const sampling::StepContext late{.index = 2, .count = 4, .timestep = 20.0};
  for (const bool one_batch : {true, false}) {
    EXPECT_TRUE(is_close(predict(one_batch, late), unet.get().forward(x, 20.0, text.prompt), 0.0));
  }
}

TEST_F(GuidedUNet3D, is_the_same_as_a_function_of_tensors) {
  for (const int64_t index : {1, 2}) {
    const sampling::StepContext step{.index = index, .count = 4, .timestep = 300.5};
    for (const bool one_batch : {true, false}) {
      EXPECT_TRUE(is_close(predict(one_batch, step, /*as_tensors=*/true), predict(one_batch, step), 0.0));
    }
  }
}

}  // namespace
}  // namespace t2v::models::modelscope
