// SPDX-License-Identifier: Apache-2.0
// unet/config.json: today's defaults, and every hostile value refused by the name of its key.
#include <string>

#include <gtest/gtest.h>

#include "models/svd/config.hpp"
#include "support/refusals.hpp"
#include "t2v/error.hpp"

namespace t2v::models::svd {
namespace {

UNetSpatioTemporalConfig parse(const std::string& json) {
  return UNetSpatioTemporalConfig::from(io::Config(io::parse_json(json, "unet/config.json"), "unet/config.json"));
}

TEST(SvdConfig, missing_keys_have_todays_defaults) {
  const UNetSpatioTemporalConfig config = parse("{}");
  EXPECT_EQ(config.block_out_channels, (std::vector<int64_t>{320, 640, 1280, 1280}));
  EXPECT_EQ(config.num_attention_heads, (std::vector<int64_t>{5, 10, 20, 20}));
  EXPECT_EQ(config.layers_per_block, (std::vector<int64_t>{2, 2, 2, 2}));
  EXPECT_EQ(config.cross_attention_dim, (std::vector<int64_t>(4, 1024)));
  EXPECT_EQ(config.in_channels, 8);
  EXPECT_EQ(config.num_frames, 25);
  EXPECT_EQ(config.added_ids(), 3);
}

using Hostile = test::HostileConfig;

class HostileSvdConfig : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileSvdConfig, is_refused_by_the_name_of_its_key) {
  test::expect_refused_by_key(GetParam(), "unet/config.json", [] { parse(GetParam().json); });
}

INSTANTIATE_TEST_SUITE_P(
    values, HostileSvdConfig,
    ::testing::Values(
        Hostile{"huge_layers", R"({"layers_per_block": 1000000000})", "layers_per_block"},
        Hostile{"uneven_layers", R"({"layers_per_block": [2, 2]})", "layers_per_block"},
        Hostile{"negative_channels", R"({"block_out_channels": [320, -1, 1280, 1280]})", "block_out_channels"},
        Hostile{"channels_without_groups", R"({"block_out_channels": [330, 640, 1280, 1280]})", "block_out_channels"},
        Hostile{"no_blocks", R"({"block_out_channels": [], "down_block_types": [], "up_block_types": []})",
                "block_out_channels"},
        Hostile{"default_heads_for_other_blocks",
                R"({"block_out_channels": [32], "down_block_types": ["DownBlockSpatioTemporal"],
                    "up_block_types": ["UpBlockSpatioTemporal"]})",
                "num_attention_heads"},
        Hostile{"uneven_types", R"({"down_block_types": ["DownBlockSpatioTemporal"]})", "down_block_types"},
        Hostile{"unknown_type", R"({"up_block_types": ["UpBlock3D", "UpBlock3D", "UpBlock3D", "UpBlock3D"]})",
                "up_block_types"},
        Hostile{"heads", R"({"num_attention_heads": 7})", "num_attention_heads"},
        Hostile{"two_widths_of_context", R"({"cross_attention_dim": [1024, 1024, 512, 1024]})", "cross_attention_dim"},
        Hostile{"ids", R"({"addition_time_embed_dim": 100})", "projection_class_embeddings_input_dim"},
        Hostile{"frames", R"({"num_frames": 0})", "num_frames"},
        Hostile{"wrong_type", R"({"in_channels": "8"})", "in_channels"}),
    &test::name_of);

}  // namespace
}  // namespace t2v::models::svd
