// SPDX-License-Identifier: Apache-2.0
// The conditioning image: Pillow's resize bit for bit, diffusers' antialiased resize, CLIP's normalisation.
#include <map>
#include <string>

#include <gtest/gtest.h>

#include <c10/core/InferenceMode.h>

#include "engine/frames.hpp"
#include "io/resize.hpp"
#include "models/svd/image_conditioning.hpp"
#include "models/vision/clip_vision.hpp"
#include "support/match.hpp"
#include "support/svd_golden.hpp"
#include "t2v/error.hpp"

namespace t2v::models::svd {
namespace {

using test::is_close;
using test::svd_expected;

const io::Json& golden() { return test::svd_document()["resize"]; }

io::Image picture_of(const std::string& name, const io::Json& spec) {
  return test::formula_picture(name, spec["size"][0].get<int64_t>(), spec["size"][1].get<int64_t>());
}

TEST(PillowResize, gives_pillows_bytes) {
  const std::map<std::string, io::ResizeFilter> filters{{"box", io::ResizeFilter::box},
                                                        {"bilinear", io::ResizeFilter::bilinear},
                                                        {"bicubic", io::ResizeFilter::bicubic},
                                                        {"lanczos", io::ResizeFilter::lanczos}};
  for (const auto& [name, spec] : golden()["pillow"].items()) {
    const int64_t width = spec["wanted"][0].get<int64_t>(), height = spec["wanted"][1].get<int64_t>();
    const io::Image image =
        io::resize_image(picture_of(name, spec), width, height, filters.at(spec["filter"].get<std::string>()));
    const at::Tensor wanted = svd_expected("pillow." + name).contiguous();
    const auto* bytes = wanted.const_data_ptr<uint8_t>();
    EXPECT_EQ(image.rgb, std::vector<uint8_t>(bytes, bytes + wanted.numel())) << name;
  }
}

TEST(PillowResize, leaves_an_image_of_the_right_size_alone) {
  const io::Image image = test::formula_picture("same", 13, 7);
  EXPECT_EQ(io::resize_image(image, 13, 7, io::ResizeFilter::lanczos).rgb, image.rgb);
}

TEST(AntialiasedResize, equals_diffusers) {
  const c10::InferenceMode guard;
  for (const auto& [name, spec] : golden()["antialiased"].items()) {
    const io::Image image = picture_of(name, spec);
    const at::Tensor frame = engine::rgb8_to_frame(image.rgb, image.height, image.width).unsqueeze(0);
    const at::Tensor resized =
        resize_with_antialiasing(frame, spec["wanted"][1].get<int64_t>(), spec["wanted"][0].get<int64_t>());
    EXPECT_TRUE(is_close(resized, svd_expected("antialiased." + name), 1e-6)) << name;
  }
}

TEST(ClipNormalisation, has_clips_numbers_and_refuses_others_that_make_no_sense) {
  const auto read = [](const char* json) {
    return vision::ImageNormalisation::from(io::Config(io::parse_json(json, "p"), "p"));
  };
  EXPECT_EQ(read("{}").mean[0], 0.48145466);
  EXPECT_EQ(read(R"({"image_std": [1, 2, 3]})").std[2], 3);
  for (const char* json : {R"({"image_std": [1, 2]})", R"({"image_std": [1, 0, 1]})", R"({"image_mean": ["a"]})"}) {
    EXPECT_THROW(read(json), Error) << json;
  }
}

}  // namespace
}  // namespace t2v::models::svd
