// SPDX-License-Identifier: Apache-2.0
// unet/config.json: today's defaults, and every hostile value refused by the name of its key.
#include <string>

#include <gtest/gtest.h>

#include "models/modelscope/config.hpp"
#include "support/refusals.hpp"
#include "t2v/error.hpp"

namespace t2v::models::modelscope {
namespace {

UNet3DConfig parse(const std::string& json) {
  return UNet3DConfig::from(io::Config(io::parse_json(json, "unet/config.json"), "unet/config.json"));
}

TEST(UNet3DConfig, missing_keys_have_todays_defaults) {
  const UNet3DConfig config = parse("{}");
  EXPECT_EQ(config.block_out_channels, (std::vector<int64_t>{320, 640, 1280, 1280}));
  EXPECT_EQ(config.down_block_types.front(), "CrossAttnDownBlock3D");
  EXPECT_EQ(config.up_block_types.front(), "UpBlock3D");
  EXPECT_EQ(config.layers_per_block, 2);
  EXPECT_EQ(config.downsample_padding, 1);
  EXPECT_EQ(config.cross_attention_dim, 1024);
  EXPECT_EQ(config.attention_head_dim, 64);
  EXPECT_EQ(config.norm_num_groups, 32);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.mid_block_scale_factor, 1.0);
  EXPECT_EQ(config.act_fn, "silu");
  EXPECT_FALSE(config.time_cond_proj_dim);
}

TEST(UNet3DConfig, sample_size_may_be_one_number_or_height_and_width) {
  EXPECT_EQ(parse(R"({"sample_size": 40})").sample_width, 40);
  const UNet3DConfig config = parse(R"({"sample_size": [40, 72]})");
  EXPECT_EQ(config.sample_height, 40);
  EXPECT_EQ(config.sample_width, 72);
}

using Hostile = test::HostileConfig;

class HostileUNetConfig : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileUNetConfig, is_refused_by_the_name_of_its_key) {
  test::expect_refused_by_key(GetParam(), "unet/config.json", [] { parse(GetParam().json); });
}

INSTANTIATE_TEST_SUITE_P(
    values, HostileUNetConfig,
    ::testing::Values(
        Hostile{"huge_layers", R"({"layers_per_block": 1000000000})", "layers_per_block"},
        Hostile{"no_layers", R"({"layers_per_block": 0})", "layers_per_block"},
        Hostile{"negative_channels", R"({"block_out_channels": [320, -1, 1280, 1280]})", "block_out_channels"},
        Hostile{"zero_channels", R"({"block_out_channels": [0, 640, 1280, 1280]})", "block_out_channels"},
        Hostile{"huge_channels", R"({"in_channels": 9223372036854775807})", "in_channels"},
        Hostile{"no_blocks", R"({"block_out_channels": [], "down_block_types": [], "up_block_types": []})",
                "block_out_channels"},
        Hostile{"uneven_lists", R"({"down_block_types": ["DownBlock3D"]})", "down_block_types"},
        Hostile{"uneven_up_list", R"({"up_block_types": ["UpBlock3D"]})", "up_block_types"},
        Hostile{"unknown_down_type", R"({"down_block_types": ["DownBlock2D", "DownBlock3D", "DownBlock3D",
                "DownBlock3D"]})",
                "down_block_types"},
        Hostile{"unknown_up_type", R"({"up_block_types": ["UpBlock3D", "UpBlock3D", "UpBlock3D",
                "UpBlockSpatioTemporal"]})",
                "up_block_types"},
        Hostile{"groups_not_dividing", R"({"norm_num_groups": 33})", "norm_num_groups"},
        Hostile{"groups_null", R"({"norm_num_groups": null})", "norm_num_groups"},
        Hostile{"groups_zero", R"({"norm_num_groups": 0})", "norm_num_groups"},
        Hostile{"heads_not_dividing", R"({"attention_head_dim": 48})", "attention_head_dim"},
        Hostile{"heads_as_list", R"({"attention_head_dim": [5, 10, 20, 20]})", "attention_head_dim"},
        Hostile{"number_of_heads", R"({"num_attention_heads": 8})", "num_attention_heads"},
        Hostile{"padding", R"({"downsample_padding": 2})", "downsample_padding"},
        Hostile{"eps", R"({"norm_eps": 0})", "norm_eps"},
        Hostile{"scale", R"({"mid_block_scale_factor": 0})", "mid_block_scale_factor"},
        Hostile{"activation", R"({"act_fn": "swiglu"})", "act_fn"},
        Hostile{"wrong_type", R"({"cross_attention_dim": "1024"})", "cross_attention_dim"},
        Hostile{"sample_size", R"({"sample_size": [32, 32, 32]})", "sample_size"},
        Hostile{"condition", R"({"time_cond_proj_dim": 0})", "time_cond_proj_dim"}),
    &test::name_of);

}  // namespace
}  // namespace t2v::models::modelscope
