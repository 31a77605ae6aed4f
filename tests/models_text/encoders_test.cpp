// SPDX-License-Identifier: Apache-2.0
// CLIP and T5 networks against transformers (scripts/golden/text.py), through the real loader.
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/text/clip_text.hpp"
#include "models/text/t5_encoder.hpp"
#include "models/text/text_encoder.hpp"
#include "support/formula_weights.hpp"
#include "support/match.hpp"
#include "support/net_golden.hpp"
#include "t2v/error.hpp"

namespace t2v::models::text {
namespace {

namespace fs = std::filesystem;
using io::Json;
using testing::HasSubstr;

// fp32 on both sides; other kernels and summation orders give about 1e-7.
constexpr double kTolerance = 1e-5;

const fs::path kGolden = fs::path(T2V_TEST_DATA) / "golden/text";

const Json& document() {
  static const Json json = io::load_json(kGolden / "encoders.json");
  return json;
}

Tensor expected(const std::string& name) {
  static const auto file = io::open_tensor_file(kGolden / "encoders.safetensors");
  return as_tensor(file->tensors().at(name), file);
}

Tensor rows(const Json& json) {
  std::vector<int64_t> flat;
  for (const Json& row : json) {
    for (const Json& value : row) {
      flat.push_back(value.get<int64_t>());
    }
  }
  return at::tensor(flat, at::TensorOptions(c10::kLong)).view({static_cast<int64_t>(json.size()), -1});
}

Tensor every_third(const Tensor& hidden) { return hidden.slice(1, 0, hidden.size(1), 3); }

/// A checkpoint of formula weights with each name passed through `rename`; an empty result leaves
/// the tensor out.
template <class Rename>
std::shared_ptr<const io::TensorFile> checkpoint(const Json& tensors, const Rename& rename) {
  std::vector<std::vector<float>> storage;
  std::vector<io::NamedTensor> named;
  const test::Manifest manifest = test::read_manifest(tensors);
  storage.reserve(manifest.size());
  for (const auto& [name, shape] : manifest) {
    const std::string stored = rename(name);
    if (stored.empty()) continue;
    storage.push_back(test::formula_weight(name, shape));
    named.push_back({stored, {io::DType::f32, shape, {}, std::as_bytes(std::span(storage.back()))}});
  }
  const std::vector<int64_t> positions{0, 1, 2};
  named.push_back(
      {"text_model.embeddings.position_ids", {io::DType::i64, {1, 3}, {}, std::as_bytes(std::span(positions))}});
  const test::TemporaryFile file("encoder");
  io::write_safetensors(file.path(), named, {});
  return io::open_tensor_file(file.path());
}

std::string keep(const std::string& name) { return name; }

class ClipEncoder : public testing::TestWithParam<std::tuple<std::string, bool>> {};

TEST_P(ClipEncoder, equals_the_reference_with_every_clip_skip) {
  const auto& [name, prefixed] = GetParam();
  const Json& golden = document().at("clip").at(name);
  const auto file = checkpoint(golden.at("tensors"), prefixed ? keep : clip_name);
  WeightStore store(file, {}, clip_name);
  const CLIPTextModel model(CLIPTextConfig::from(io::Config(golden.at("config"), "config.json")), store.root(), true);
  store.expect_all_taken();
  const Tensor ids = rows(golden.at("ids"));
  for (int64_t skip = 0; skip <= 3; ++skip) {
    EXPECT_TRUE(test::is_close(every_third(model.forward(ids, skip)),
                               expected("clip." + name + "." + std::to_string(skip)), kTolerance))
        << "clip_skip " << skip;
  }
  const Tensor masked = model.forward(ids, 0, rows(golden.at("mask")));
  EXPECT_TRUE(test::is_close(every_third(masked), expected("clip." + name + ".masked"), kTolerance));
  const Tensor hidden = model.forward(ids);
  EXPECT_TRUE(test::is_close(model.pooled(hidden, ids), expected("clip." + name + ".projected"), kTolerance));
  EXPECT_THROW(model.forward(ids, 4), Error);
  EXPECT_THROW(model.forward(ids, -1), Error);
}

INSTANTIATE_TEST_SUITE_P(Goldens, ClipEncoder, testing::Combine(testing::Values("quick_gelu", "gelu"), testing::Bool()),
                         [](const auto& row) {
                           return std::get<0>(row.param) + (std::get<1>(row.param) ? "_prefixed" : "_bare");
                         });

TEST(ClipEncoderPooling, without_projection_the_state_at_the_first_end_token_is_given) {
  for (const std::string name : {"quick_gelu", "gelu"}) {
    const Json& golden = document().at("clip").at(name);
    const auto file = checkpoint(golden.at("tensors"), [](const std::string& stored) {
      return stored.starts_with("text_projection") ? std::string() : stored;
    });
    WeightStore store(file, {}, clip_name);
    const CLIPTextModel model(CLIPTextConfig::from(io::Config(golden.at("config"), "config.json")), store.root());
    const Tensor ids = rows(golden.at("ids"));
    EXPECT_TRUE(
        test::is_close(model.pooled(model.forward(ids), ids), expected("clip." + name + ".pooled"), kTolerance));
  }
}

class T5 : public testing::TestWithParam<std::string> {};

TEST_P(T5, equals_the_reference_with_and_without_mask) {
  const std::string& name = GetParam();
  const Json& golden = document().at("t5").at(name);
  const auto config = T5Config::from(io::Config(golden.at("config"), "config.json"), name == "umt5");
  const bool has_shared = golden.at("tensors").contains("shared");
  for (const bool other_name : {false, true}) {  // the embedding table's two names
    const auto file = checkpoint(golden.at("tensors"), [&](const std::string& stored) -> std::string {
      const std::string mine = has_shared ? "shared.weight" : "encoder.embed_tokens.weight";
      if (stored != mine) return stored == "encoder.embed_tokens.weight" ? std::string() : stored;
      return other_name ? (has_shared ? "encoder.embed_tokens.weight" : "shared.weight") : stored;
    });
    WeightStore store(file, {}, t5_rename(*file));
    const T5Encoder model(config, store.root());
    store.expect_all_taken({"position_ids"});
    const Tensor ids = rows(golden.at("ids"));
    EXPECT_TRUE(test::is_close(every_third(model.forward(ids)), expected("t5." + name), kTolerance));
    EXPECT_TRUE(test::is_close(every_third(model.forward(ids, rows(golden.at("mask")))),
                               expected("t5." + name + ".masked"), kTolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, T5, testing::Values("gated", "relu", "umt5"),
                         [](const auto& row) { return row.param; });

io::Config published(const std::string& model) {
  return io::Config::load(fs::path(T2V_TEST_DATA) / "data/configs" / model / "text_encoder.json");
}

TEST(TextParameterCounts, published_configs_give_the_published_counts) {
  const std::pair<const char*, int64_t> clip[] = {{"text-to-video-ms-1.7b", 340'387'840},
                                                  {"potat1", 340'387'840},
                                                  {"stable-diffusion-2-1-base", 340'387'840},
                                                  {"stable-diffusion-v1-5", 123'060'480}};
  for (const auto& [model, wanted] : clip) {
    WeightStore store = WeightStore::shapes_only();
    const CLIPTextModel network(CLIPTextConfig::from(published(model)), store.root());
    EXPECT_EQ(store.parameter_count(), wanted) << model;
  }
  WeightStore t5 = WeightStore::shapes_only();
  const T5Encoder encoder(T5Config::from(published("t5-v1_1-xxl")), t5.root());
  EXPECT_EQ(t5.parameter_count(), 4'762'310'656);
  // UMT5-XXL: the same with another vocabulary and a bias table in each of the 24 layers.
  T5Config umt5_config = T5Config::from(published("t5-v1_1-xxl"));
  umt5_config.vocab_size = 256'384;
  umt5_config.bias_in_every_layer = true;
  WeightStore umt5 = WeightStore::shapes_only();
  const T5Encoder umt5_encoder(umt5_config, umt5.root());
  EXPECT_EQ(umt5.parameter_count(), 5'680'910'336);
}

TEST(TextConfigs, impossible_values_are_refused_by_key) {
  const auto clip = [](const char* json) {
    return CLIPTextConfig::from(io::Config(io::parse_json(json, "config.json"), "config.json"));
  };
  EXPECT_THROW(clip(R"({"hidden_size": 30, "num_attention_heads": 4})"), Error);
  EXPECT_THROW(clip(R"({"num_hidden_layers": 0})"), Error);
  EXPECT_THROW(clip(R"({"vocab_size": -1})"), Error);
  EXPECT_THROW(clip(R"({"max_position_embeddings": 1e18})"), Error);
  const auto t5 = [](const char* json) {
    return T5Config::from(io::Config(io::parse_json(json, "config.json"), "config.json"));
  };
  EXPECT_THROW(t5(R"({"relative_attention_num_buckets": 2})"), Error);
  EXPECT_THROW(t5(R"({"relative_attention_max_distance": 8})"), Error);
  WeightStore store = WeightStore::shapes_only();
  EXPECT_THROW(T5Encoder(t5(R"({"feed_forward_proj": "gated-tanhh"})"), store.root()), Error);
  EXPECT_THROW(CLIPTextModel(clip(R"({"hidden_act": "gelu_fast2"})"), store.root()), Error);
}

}  // namespace
}  // namespace t2v::models::text
