// SPDX-License-Identifier: Apache-2.0
// TextEncoder: a tokenizer and a network from component folders.
#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/text/text_encoder.hpp"
#include "support/formula_weights.hpp"
#include "support/match.hpp"
#include "t2v/error.hpp"

namespace t2v::models::text {
namespace {

namespace fs = std::filesystem;
using io::Json;
using testing::HasSubstr;

template <class Call>
Error error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "wanted an error, got none";
  return Error(ErrorCode::internal, "");
}

/// Tiny `tokenizer` and `text_encoder` folders with formula weights, removed with the object.
class Folders : public testing::Test {
 protected:
  Folders() : root_(fs::temp_directory_path() / ("t2v-text-" + std::to_string(::getpid()))) {
    fs::create_directories(root_ / "tokenizer");
    fs::create_directories(root_ / "text_encoder");
  }
  ~Folders() override {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(root_ / name, std::ios::binary) << content;
  }

  /// Seven tokens; `length` positions; an embedding of `rows`.
  void write_clip(int64_t rows, int64_t length) {
    write("tokenizer/vocab.json",
          R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,"<|endoftext|>":6})");
    write("tokenizer/merges.txt", "#version: 0.2\na b</w>\n");
    write("tokenizer/tokenizer_config.json", R"({"model_max_length":)" + std::to_string(length) + "}");
    write(
        "text_encoder/config.json",
        R"({"vocab_size":)" + std::to_string(rows) +
            R"(,"hidden_size":8,"intermediate_size":16,"num_hidden_layers":2,"num_attention_heads":2,"max_position_embeddings":6})");
    test::Manifest manifest{{"embeddings.token_embedding.weight", {rows, 8}},
                            {"embeddings.position_embedding.weight", {6, 8}}};
    const auto norm_or_bias = [&](const std::string& name, int64_t width) { manifest[name] = {width}; };
    const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
      manifest[name + ".weight"] = {out, in};
      norm_or_bias(name + ".bias", out);
    };
    for (const std::string layer : {"encoder.layers.0.", "encoder.layers.1."}) {
      for (const std::string part : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
        linear(layer + "self_attn." + part, 8, 8);
      }
      linear(layer + "mlp.fc1", 8, 16);
      linear(layer + "mlp.fc2", 16, 8);
      for (const std::string norm : {"layer_norm1", "layer_norm2"}) {
        norm_or_bias(layer + norm + ".weight", 8);
        norm_or_bias(layer + norm + ".bias", 8);
      }
    }
    norm_or_bias("final_layer_norm.weight", 8);
    norm_or_bias("final_layer_norm.bias", 8);
    manifest_ = manifest;
    test::write_formula_checkpoint(root_ / "text_encoder/model.safetensors", manifest);
  }

  TextEncoder open(const std::string& tokenizer = "CLIPTokenizer", const std::string& encoder = "CLIPTextModel") const {
    return TextEncoder({"tokenizer", tokenizer, root_ / "tokenizer"}, {"text_encoder", encoder, root_ / "text_encoder"},
                       Placement{});
  }

  fs::path root_;
  test::Manifest manifest_;
};

TEST_F(Folders, a_prompt_becomes_states_and_tokens) {
  write_clip(7, 6);
  const TextEncoder encoder = open();
  const TextEmbedding one = encoder.encode("ab a");
  EXPECT_EQ(one.tokens.ids, (std::vector<int64_t>{5, 4, 2, 6, 6, 6}));
  EXPECT_THAT(one.hidden.sizes(), testing::ElementsAre(1, 6, 8));
  EXPECT_EQ(encoder.width(), 8);
  EXPECT_TRUE(test::is_close(encoder.encode("ab a", 0).hidden, one.hidden, 0.0));
  EXPECT_FALSE(test::is_close(encoder.encode("ab a", 1).hidden, one.hidden, 1e-3));
  EXPECT_FALSE(test::is_close(encoder.encode("ab b").hidden, one.hidden, 1e-3));
  EXPECT_EQ(encoder.encode("ab ab ab ab ab").tokens.truncated, "ab");
  EXPECT_EQ(encoder.encode("ab a", EncodeOptions{.max_length = 4}).hidden.size(1), 4);
  EXPECT_EQ(error_of([&] { encoder.encode("ab", 3); }).code(), ErrorCode::usage);
  EXPECT_EQ(count_parameters({"text_encoder", "CLIPTextModel", root_ / "text_encoder"}, 8),
            7 * 8 + 6 * 8 + 2 * 600 + 16);
}

TEST_F(Folders, Row14_an_encoder_that_does_not_fit_is_refused_before_it_is_loaded) {
  write_clip(7, 6);
  const auto refusal = [&](int64_t width) {
    return std::string(error_of([&] {
                         count_parameters({"text_encoder", "CLIPTextModel", root_ / "text_encoder"}, width);
                       }).what());
  };
  EXPECT_THAT(refusal(16), HasSubstr("wanted states 16 wide (cross_attention_dim of the UNet), got 8"));
  test::Manifest manifest = manifest_;
  manifest["final_layer_norm.bias"] = {9};
  test::write_formula_checkpoint(root_ / "text_encoder/model.safetensors", manifest);
  EXPECT_THAT(refusal(8), HasSubstr("final_layer_norm.bias"));
  manifest = manifest_;
  manifest["encoder.layers.2.mlp.fc1.bias"] = {16};
  test::write_formula_checkpoint(root_ / "text_encoder/model.safetensors", manifest);
  EXPECT_THAT(refusal(8), HasSubstr("encoder.layers.2.mlp.fc1.bias"));
}

TEST_F(Folders, the_config_may_ask_for_the_attention_mask) {
  write_clip(7, 6);
  const at::Tensor without = open().encode("ab").hidden;
  const at::Tensor with = open().encode("ab", EncodeOptions{.use_mask = true}).hidden;
  // Causal: states before the padding do not see it either way, the padded ones differ.
  EXPECT_TRUE(test::is_close(with.narrow(1, 0, 3), without.narrow(1, 0, 3), 1e-6));
  EXPECT_FALSE(test::is_close(with, without, 1e-3));
}

TEST_F(Folders, Row36_ids_beyond_the_embedding_are_refused_with_both_numbers) {
  write_clip(6, 6);
  const Error error = error_of([&] { open().encode("a"); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("below vocab_size 6, got 6"));
}

TEST_F(Folders, more_tokens_than_positions_are_refused_with_both_numbers) {
  write_clip(7, 9);
  const Error error = error_of([&] { open().encode("a"); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("at most 6 tokens (max_position_embeddings), got 9"));
}

TEST_F(Folders, Row13_missing_and_unused_tensors_are_named) {
  write_clip(7, 6);
  test::Manifest manifest = manifest_;
  manifest.erase("final_layer_norm.bias");
  test::write_formula_checkpoint(root_ / "text_encoder/model.safetensors", manifest);
  EXPECT_THAT(error_of([&] { open(); }).what(), HasSubstr("final_layer_norm.bias"));
  manifest = manifest_;
  manifest["encoder.layers.2.mlp.fc1.bias"] = {16};
  test::write_formula_checkpoint(root_ / "text_encoder/model.safetensors", manifest);
  EXPECT_THAT(error_of([&] { open(); }).what(), HasSubstr("encoder.layers.2.mlp.fc1.bias"));
}

TEST_F(Folders, unknown_classes_are_named) {
  write_clip(7, 6);
  EXPECT_EQ(error_of([&] { open("CLIPTokenizer", "CLIPTextModle"); }).hint(), "did you mean 'CLIPTextModel'?");
  EXPECT_EQ(error_of([&] { open("BertTokenizer"); }).code(), ErrorCode::unsupported);
}

TEST_F(Folders, a_t5_encodes_and_refuses_clip_skip) {
  const Json golden = io::load_json(fs::path(T2V_TEST_DATA) / "golden/text/encoders.json").at("t5").at("relu");
  write("text_encoder/config.json", golden.at("config").dump());
  test::write_formula_checkpoint(root_ / "text_encoder/model.safetensors", test::read_manifest(golden.at("tensors")));
  write("tokenizer/tokenizer.json",
        R"({"model":{"type":"Unigram","vocab":[["<pad>",0],["</s>",0],["<unk>",0],["▁",-2],["a",-1],["▁a",-1.5]]}})");
  write("tokenizer/tokenizer_config.json", R"({"model_max_length":8,"extra_ids":0})");
  const TextEncoder encoder = open("T5Tokenizer", "T5EncoderModel");
  const TextEmbedding out = encoder.encode("a 文");
  EXPECT_EQ(out.tokens.ids, (std::vector<int64_t>{5, 3, 2, 1, 0, 0, 0, 0}));
  EXPECT_THAT(out.hidden.sizes(), testing::ElementsAre(1, 8, 24));
  EXPECT_FALSE(test::is_close(encoder.encode("a 文", EncodeOptions{.use_mask = true}).hidden, out.hidden, 1e-3));
  EXPECT_EQ(error_of([&] { encoder.encode("a", 1); }).code(), ErrorCode::unsupported);
}

}  // namespace
}  // namespace t2v::models::text
