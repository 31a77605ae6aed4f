// SPDX-License-Identifier: Apache-2.0
// Networks loaded where a device has our kernels, here emulated, beside the same loaded without: biases that norms add
// for nothing are left out of the tokens there.
#include <filesystem>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "emulated/plugin.hpp"
#include "engine/cuda_kernels.hpp"
#include "models/modelscope/unet3d.hpp"
#include "models/svd/layers.hpp"
#include "models/svd/unet.hpp"
#include "models/unet/unet2d.hpp"
#include "nn/transformer_2d.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "support/svd_golden.hpp"

namespace t2v::models {
namespace {

using test::expected;
using test::formula_tensor;
using test::is_close;
using test::Shape;

/// What networks promise beside diffusers in fp32; sums here are in another order too.
constexpr double kTolerance = 1e-5;

/// The emulated device, which counts what norms are asked for.
struct Counted {
  static inline int norms = 0, with_offset = 0, with_positions = 0;
  static int layer_norm(int device, const cuda::LayerNormJob& job) {
    ++norms;
    if (job.offset) ++with_offset;
    if (job.positions) ++with_positions;
    return cuda::emulated_plugin().layer_norm(device, job);
  }
};

class KernelsInUse {
 public:
  explicit KernelsInUse(bool has_layer_norm = true) {
    api_.layer_norm = has_layer_norm ? &Counted::layer_norm : [](int, const cuda::LayerNormJob&) { return 1; };
    kernels_.emplace(api_, c10::Device(c10::kCPU));
    set_device_kernels(&*kernels_);
    Counted::norms = Counted::with_offset = Counted::with_positions = 0;
  }
  ~KernelsInUse() { set_device_kernels(nullptr); }
  KernelsInUse(const KernelsInUse&) = delete;
  KernelsInUse& operator=(const KernelsInUse&) = delete;

 private:
  cuda::PluginApi api_ = cuda::emulated_plugin();
  std::optional<engine::CudaKernels> kernels_;
};

const io::Json& unet2d_golden(const std::string& name) {
  static const io::Json json =
      io::load_json(std::filesystem::path(T2V_TEST_DATA) / "golden/unet2d/unet2d.json")["motion"];
  return json[name];
}

template <class Network, class Config>
Network build(const io::Json& spec, const Placement& placement) {
  WeightStore store = test::formula_store(test::read_manifest(spec["tensors"]), placement);
  return Network(Config::from(io::Config(spec["config"], "unet/config.json")), store.root());
}

std::function<Tensor(const std::string&)> inputs(const io::Json& spec, const Placement& placement) {
  return [&spec, placement](const std::string& key) {
    return formula_tensor(key, spec[key].get<Shape>()).to(placement.dtype);
  };
}

/// Of a network that reads text.
template <class Network, class Config>
Tensor run_on_text(const io::Json& spec, const Placement& placement) {
  const auto unet = build<Network, Config>(spec, placement);
  const auto input = inputs(spec, placement);
  std::optional<Tensor> condition;
  if (spec.contains("timestep_cond")) condition = input("timestep_cond");
  return unet.forward(input("sample"), spec["timesteps"].get<std::vector<double>>(), input("encoder_hidden_states"),
                      condition);
}

Tensor run_modelscope(const std::string& name, const Placement& placement) {
  return run_on_text<modelscope::UNet3DConditionModel, modelscope::UNet3DConfig>(test::nets_document()["unet"][name],
                                                                                 placement);
}

Tensor run_animatediff(const std::string& name, const Placement& placement) {
  return run_on_text<unet::UNet2DConditionModel, unet::UNet2DConfig>(unet2d_golden(name), placement);
}

Tensor run_svd(const std::string& name, const Placement& placement) {
  const io::Json& spec = test::svd_document()["unet"][name];
  const auto unet = build<svd::UNetSpatioTemporalConditionModel, svd::UNetSpatioTemporalConfig>(spec, placement);
  const auto input = inputs(spec, placement);
  std::vector<double> ids;
  for (const auto& row : spec["added_time_ids"]) {
    for (const auto& id : row) ids.push_back(id.get<double>());
  }
  return unet.forward(input("sample"), spec["timestep"].get<double>(), input("encoder_hidden_states"), ids);
}

struct Row {
  const char* family;
  const char* name;
  Tensor (*run)(const std::string& name, const Placement& placement);  // loads the network, runs it once
  bool has_positions = false;
  friend void PrintTo(const Row& row, std::ostream* out) { *out << row.family << " " << row.name; }
};

class Networks : public testing::TestWithParam<Row> {
 protected:
  const c10::InferenceMode guard_;
};
using NetworksInHalf = Networks;

std::string row_name(const testing::TestParamInfo<Row>& row) {
  return std::string(row.param.family) + "_" + row.param.name;
}

constexpr Row kModelscope{"modelscope", "options", run_modelscope}, kSvd{"svd", "lists", run_svd},
    kAnimatediff{"animatediff", "options", run_animatediff, true};

TEST_P(Networks, give_the_same_with_the_kernels_of_a_device) {
  const auto& [family, name, run, has_positions] = GetParam();
  const Tensor without = run(name, {});
  const KernelsInUse kernels;
  EXPECT_TRUE(is_close(run(name, {}), without, kTolerance));
  EXPECT_GT(Counted::with_offset, 0);
  EXPECT_EQ(Counted::with_positions > 0, has_positions);
}

INSTANTIATE_TEST_SUITE_P(families, Networks,
                         testing::Values(kModelscope, kSvd, Row{"svd", "basic", run_svd}, kAnimatediff,
                                         Row{"animatediff", "v2", run_animatediff, true}),
                         row_name);

// Layers are not packed, as on a device: a product adds to the tokens in place.
TEST_P(NetworksInHalf, are_as_near_to_fp32_as_without_kernels) {
  const auto& [family, name, run, has_positions] = GetParam();
  const Tensor exact = run(name, {});
  const KernelsInUse kernels;
  EXPECT_TRUE(is_close(run(name, {at::kCPU, at::kHalf}), exact, 1e-2));  // 11 bits of mantissa through some 50 layers
}

INSTANTIATE_TEST_SUITE_P(families, NetworksInHalf, testing::Values(kModelscope, kSvd, kAnimatediff), row_name);

/// Layers of more than one block.
class Transformers : public testing::Test {
 protected:
  static nn::Transformer2DModel two_blocks() {
    WeightStore store = test::formula_store(test::read_manifest(test::nets_document()["layer"]["transformer_2d_conv"]));
    return nn::Transformer2DModel(
        store.root(),
        {.in_channels = 16, .heads = 2, .head_dim = 8, .layers = 2, .groups = 4, .cross_attention_dim = 10});
  }
  Tensor run(const nn::Transformer2DModel& model) const { return model.forward(x_, text_); }
  static Tensor wanted() { return expected("layer.transformer_2d_conv"); }

  const c10::InferenceMode guard_;
  Tensor x_ = formula_tensor("x", {4, 16, 5, 3}), text_ = formula_tensor("text", {4, 6, 10});
};

TEST_F(Transformers, hand_what_their_tokens_lack_from_block_to_block) {
  const KernelsInUse kernels;
  const nn::Transformer2DModel model = two_blocks();
  for (const auto& block : model.transformer_blocks) {
    EXPECT_FALSE(block.attn1.to_out.bias || block.attn2_cross->to_out.bias || block.ff.project_out.bias);
  }
  Counted::norms = Counted::with_offset = 0;
  EXPECT_TRUE(is_close(run(model), wanted(), kTolerance));
  EXPECT_EQ(Counted::norms, 6);
  EXPECT_EQ(Counted::with_offset, 6);
}

TEST_F(Transformers, of_svd_hand_it_through_the_blend_of_both_kinds) {
  const KernelsInUse kernels;
  WeightStore store = test::formula_store(test::read_manifest(test::svd_document()["layer"]["transformer"]));
  const svd::TransformerSpatioTemporalModel model(
      store.root(), {.in_channels = 64, .heads = 4, .layers = 2, .cross_attention_dim = 10});
  const Tensor out = model.forward(formula_tensor("x", {6, 64, 5, 3}, 1e-3F), formula_tensor("context", {2, 1, 10}), 3);
  EXPECT_TRUE(is_close(out, test::svd_expected("layer.transformer"), kTolerance));
  EXPECT_GT(Counted::with_offset, 0);
}

TEST_F(Transformers, are_right_where_the_kernel_is_not_proven) {
  const KernelsInUse kernels(/*has_layer_norm=*/false);
  EXPECT_TRUE(is_close(run(two_blocks()), wanted(), kTolerance));
}

TEST_F(Transformers, keep_their_biases_on_the_cpu) {
  const nn::Transformer2DModel model = two_blocks();
  for (const auto& block : model.transformer_blocks) {
    EXPECT_TRUE(block.attn1.to_out.bias && block.attn2_cross->to_out.bias && block.ff.project_out.bias);
    EXPECT_FALSE(block.norm1.offset || block.norm2->offset || block.norm3.offset);
  }
}

// As after another device was chosen for another model.
TEST_F(Transformers, are_right_when_the_kernels_they_were_loaded_for_are_gone) {
  std::optional<KernelsInUse> kernels(std::in_place);
  const nn::Transformer2DModel model = two_blocks();
  kernels.reset();
  EXPECT_TRUE(is_close(run(model), wanted(), kTolerance));
}

}  // namespace
}  // namespace t2v::models
