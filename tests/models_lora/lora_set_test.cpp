// SPDX-License-Identifier: Apache-2.0
// Merging into single weights, against the products written out.
#include <gtest/gtest.h>

#include <ATen/ops/einsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

#include "models/lora/lora_set.hpp"
#include "support/lora_files.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "tensor/operators.hpp"
#include "text/text_files.hpp"

namespace t2v::test {
namespace {

using models::lora::LoraSet;

// One product of at most 64 terms in fp32.
constexpr double kRounding = 1e-6;

at::Tensor formula_matrix(const std::string& name, const Shape& shape) {
  const auto values = formula_weight(name, shape);
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<float>());
  return tensor;
}

/// A network of one module `m`, and a LoRA file written by `fill`.
struct Bench {
  explicit Bench(Manifest manifest, Placement placement = {}) : file(formula_file(manifest)), placement(placement) {}

  at::Tensor merged(const TensorWriter& lora, double weight, const std::string& name, const Shape& shape) {
    lora.write(folder.path() / "l.safetensors");
    LoraSet set({{(folder.path() / "l.safetensors").string(), weight}});
    set.bind("unet", WeightStore::header_only(file));
    set.finish("TestPipeline");
    WeightStore store(file, placement);
    store.set_overlay(set.overlay("unet"));
    return store.root().take(name, shape);
  }

  TempFolder folder;
  std::shared_ptr<const io::TensorFile> file;
  Placement placement;
};

TEST(LoraMerge, tucker_form_of_a_convolution_is_the_threefold_product) {
  const Shape shape{6, 4, 3, 3};
  Bench bench({{"m.weight", shape}});
  TensorWriter lora;
  lora.add_formula("lora_unet_m.lora_down.weight", {3, 4, 1, 1}, "down");
  lora.add_formula("lora_unet_m.lora_mid.weight", {2, 3, 3, 3}, "mid");
  lora.add_formula("lora_unet_m.lora_up.weight", {6, 2, 1, 1}, "up");
  lora.add("lora_unet_m.alpha", {}, {6});
  const at::Tensor delta =
      at::einsum("nmkl,in,mj->ijkl",
                 {formula_matrix("mid", {2, 3, 3, 3}), formula_matrix("up", {6, 2}), formula_matrix("down", {3, 4})});
  const at::Tensor wanted = formula_matrix("m.weight", shape) + delta * (0.5 * 6 / 3);
  EXPECT_TRUE(is_close(bench.merged(lora, 0.5, "m.weight", shape), wanted, kRounding));
}

TEST(LoraMerge, a_linear_lora_fits_a_1x1_convolution_and_the_other_way_round) {
  TensorWriter linear, convolution;
  linear.add_formula("lora_unet_m.lora_down.weight", {2, 4}, "down");
  linear.add_formula("lora_unet_m.lora_up.weight", {6, 2}, "up");
  convolution.add_formula("lora_unet_m.lora_down.weight", {2, 4, 1, 1}, "down");
  convolution.add_formula("lora_unet_m.lora_up.weight", {6, 2, 1, 1}, "up");
  const at::Tensor wanted =
      formula_matrix("m.weight", {6, 4}) + formula_matrix("up", {6, 2}).matmul(formula_matrix("down", {2, 4}));
  Bench stored_linear({{"m.weight", {6, 4}}});
  Bench stored_convolution({{"m.weight", {6, 4, 1, 1}}});
  EXPECT_TRUE(is_close(stored_linear.merged(convolution, 1, "m.weight", {6, 4}), wanted, kRounding));
  EXPECT_TRUE(is_close(stored_convolution.merged(linear, 1, "m.weight", {6, 4}), wanted, kRounding));
}

TEST(LoraMerge, full_differences_change_weight_and_bias) {
  const Manifest manifest{{"m.weight", {6, 4}}, {"m.bias", {6}}};
  TensorWriter lora;
  lora.add_formula("diffusion_model.m.diff", {6, 4}, "d");
  lora.add_formula("diffusion_model.m.diff_b", {6}, "b");
  Bench bench(manifest);
  EXPECT_TRUE(is_close(bench.merged(lora, -2, "m.weight", {6, 4}),
                       formula_matrix("m.weight", {6, 4}) - formula_matrix("d", {6, 4}) * 2, kRounding));
  EXPECT_TRUE(is_close(bench.merged(lora, -2, "m.bias", {6}),
                       formula_matrix("m.bias", {6}) - formula_matrix("b", {6}) * 2, kRounding));
}

TEST(LoraMerge, the_sum_is_made_in_fp32_and_rounded_once) {
  const Shape shape{6, 4};
  TensorWriter lora;
  lora.add_formula("lora_unet_m.lora_down.weight", {2, 4}, "down");
  lora.add_formula("lora_unet_m.lora_up.weight", {6, 2}, "up");
  Bench exact({{"m.weight", shape}}), half({{"m.weight", shape}}, {.dtype = at::kHalf});
  const at::Tensor wanted = exact.merged(lora, 0.3, "m.weight", shape);
  EXPECT_TRUE(at::equal(half.merged(lora, 0.3, "m.weight", shape), wanted.to(at::kHalf)));
}

TEST(LoraMerge, ldm_and_diffusers_block_names_give_the_same_weights) {
  const Manifest manifest{{"down_blocks.0.resnets.0.conv1.weight", {4, 4, 3, 3}},
                          {"down_blocks.0.resnets.1.conv1.weight", {4, 4, 3, 3}},
                          {"down_blocks.1.resnets.1.time_emb_proj.weight", {4, 4}},
                          {"down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight", {4, 4}}};
  const std::map<std::string, std::string> names{
      {"down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
       "input_blocks_4_1_transformer_blocks_0_attn1_to_q"},
      {"down_blocks_1_resnets_1_time_emb_proj", "input_blocks_5_0_emb_layers_1"}};
  const std::map<std::string, std::string> weights{
      {"down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
       "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight"},
      {"down_blocks_1_resnets_1_time_emb_proj", "down_blocks.1.resnets.1.time_emb_proj.weight"}};
  for (const auto& [diffusers, ldm] : names) {
    std::vector<at::Tensor> results;
    for (const std::string& name : {diffusers, ldm}) {
      TensorWriter lora;
      lora.add_formula("lora_unet_" + name + ".lora_down.weight", {2, 4}, "down");
      lora.add_formula("lora_unet_" + name + ".lora_up.weight", {4, 2}, "up");
      Bench bench(manifest);
      results.push_back(bench.merged(lora, 1, weights.at(diffusers), {4, 4}));
    }
    EXPECT_TRUE(at::equal(results[0], results[1])) << ldm;
    EXPECT_FALSE(at::equal(results[0], formula_matrix(weights.at(diffusers), {4, 4})));
  }
}

/// The names of a Stable Diffusion UNet of two blocks with AnimateDiff's motion modules: diffusers' name of a module,
/// and LDM's with '_' where LDM has the module.
std::vector<std::pair<std::string, std::string>> sd_modules() {
  std::vector<std::pair<std::string, std::string>> names{
      {"conv_in", "input_blocks_0_0"}, {"conv_out", "out_2"}, {"time_embedding.linear_1", "time_embed_0"}};
  const auto add_layer = [&](const std::string& path, const std::string& attention, const std::string& resnet,
                             int64_t index, bool is_attending) {
    const std::string i = std::to_string(index);
    for (const auto& [ours, theirs] : {std::pair{"conv1", "in_layers_2"},
                                       {"time_emb_proj", "emb_layers_1"},
                                       {"conv2", "out_layers_3"},
                                       {"conv_shortcut", "skip_connection"}}) {
      names.emplace_back(path + "resnets." + i + "." + ours, resnet + theirs);
    }
    if (!is_attending) return;
    for (const std::string part :
         {"proj_in", "proj_out", "transformer_blocks.0.attn1.to_q", "transformer_blocks.0.attn2.to_k",
          "transformer_blocks.0.attn2.to_out.0", "transformer_blocks.0.ff.net.0.proj"}) {
      names.emplace_back(path + "attentions." + i + "." + part, attention + with_underscores(part));
    }
  };
  for (int64_t block = 0; block < 2; ++block) {
    const std::string b = std::to_string(block) + ".";
    for (int64_t layer = 0; layer < 3; ++layer) {
      const auto slot = [&](int64_t first) { return std::to_string(first + block * 3 + layer); };
      if (layer < 2) {
        add_layer("down_blocks." + b, "input_blocks_" + slot(1) + "_1_", "input_blocks_" + slot(1) + "_0_", layer,
                  block == 0);
      }
      add_layer("up_blocks." + b, "output_blocks_" + slot(0) + "_1_", "output_blocks_" + slot(0) + "_0_", layer,
                block == 1);
      for (const std::string to : {"attn1.to_q", "attn2.to_out.0"}) {
        names.emplace_back("up_blocks." + b + "motion_modules." + std::to_string(layer) + ".transformer_blocks.0." + to,
                           "");
      }
    }
  }
  names.emplace_back("down_blocks.0.downsamplers.0.conv", "input_blocks_3_0_op");
  names.emplace_back("up_blocks.0.upsamplers.0.conv", "output_blocks_2_1_conv");
  add_layer("mid_block.", "middle_block_1_", "middle_block_0_", 0, true);
  names.emplace_back("mid_block.resnets.1.conv2", "middle_block_2_out_layers_3");
  return names;
}

TEST(LoraNames, every_trainer_reaches_every_module_of_a_stable_diffusion_unet) {
  using Name = std::function<std::string(const std::string& module, const std::string& ldm)>;
  struct Trainer {
    std::string what;
    Name name;  // empty: this trainer has no such module
    std::string down, up;
  };
  const auto motion = [](const std::string& module) { return module.find("motion_modules") != std::string::npos; };
  const auto original_motion = [&](const std::string& module, const std::string&) {
    if (!motion(module)) return std::string();
    std::string name = module;
    const auto replace = [&](const std::string& from, const std::string& to) {
      if (const size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
    };
    replace(".transformer_blocks", ".temporal_transformer.transformer_blocks");
    replace("attn1.", "attention_blocks.0.processor.");
    replace("attn2.", "attention_blocks.1.processor.");
    replace("to_out.0", "to_out");
    return "module." + name;
  };
  const std::vector<Trainer> trainers{
      {"PEFT", [](const auto& m, const auto&) { return "unet." + m; }, ".lora_A.weight", ".lora_B.weight"},
      {"kohya, diffusers' blocks", [](const auto& m, const auto&) { return "lora_unet_" + with_underscores(m); },
       ".lora_down.weight", ".lora_up.weight"},
      {"kohya, LDM's blocks", [](const auto&, const auto& l) { return l.empty() ? l : "lora_unet_" + l; },
       ".lora_down.weight", ".lora_up.weight"},
      {"MotionLoRA, original", original_motion, "_lora.down.weight", "_lora.up.weight"},
      {"MotionLoRA, converted", [&](const auto& m, const auto&) { return motion(m) ? "unet." + m : std::string(); },
       ".lora.down.weight", ".lora.up.weight"},
  };
  const auto modules = sd_modules();
  Manifest manifest;
  for (const auto& [module, ldm] : modules) manifest[module + ".weight"] = {4, 4};
  const auto file = formula_file(manifest);
  for (const Trainer& trainer : trainers) {
    SCOPED_TRACE(trainer.what);
    const TempFolder folder;
    TensorWriter lora;
    size_t written = 0;
    for (const auto& [module, ldm] : modules) {
      const std::string name = trainer.name(module, ldm);
      if (name.empty()) continue;
      lora.add_formula(name + trainer.down, {2, 4}, module + ".down");
      lora.add_formula(name + trainer.up, {4, 2}, module + ".up");
      written += 2;
    }
    lora.write(folder.path() / "l.safetensors");
    LoraSet set({{(folder.path() / "l.safetensors").string(), 1}});
    set.bind("unet", WeightStore::header_only(file));
    set.finish("AnimateDiffPipeline");
    EXPECT_EQ(set.info().front().matched, static_cast<int64_t>(written));
    EXPECT_EQ(set.info().front().tensors, static_cast<int64_t>(written));
    WeightStore store(file, {});
    store.set_overlay(set.overlay("unet"));
    for (const auto& [module, ldm] : modules) {
      at::Tensor wanted = formula_matrix(module + ".weight", {4, 4});
      if (!trainer.name(module, ldm).empty()) {
        wanted = wanted + formula_matrix(module + ".up", {4, 2}).matmul(formula_matrix(module + ".down", {2, 4}));
      }
      EXPECT_TRUE(is_close(store.root().take(module + ".weight", {4, 4}), wanted, kRounding)) << module;
    }
  }
}

}  // namespace
}  // namespace t2v::test
