// SPDX-License-Identifier: Apache-2.0
#include "io/image.hpp"

#include <cstdlib>

#include "io/config.hpp"
#include "io_support.hpp"

namespace t2v::test {
namespace {

using io::Image;

Image expected(const std::string& name) {
  const auto row = io::load_json(golden("expected.json")).at(name);
  return {row.at(0), row.at(1), row.at(2).get<std::vector<uint8_t>>()};
}

class ImageGolden : public testing::TestWithParam<std::string> {};

TEST_P(ImageGolden, equals_what_pil_gives) {
  const Image found = io::load_image(golden(GetParam())), wanted = expected(GetParam());
  ASSERT_EQ(found.width, wanted.width);
  ASSERT_EQ(found.height, wanted.height);
  // JPEG decoders differ in their inverse DCT and chroma upsampling by a few levels; PNG is exact.
  const int tolerance = GetParam().ends_with(".jpg") ? 4 : 0;
  int worst = 0;
  for (size_t i = 0; i < wanted.rgb.size(); ++i) worst = std::max(worst, std::abs(found.rgb[i] - wanted.rgb[i]));
  EXPECT_LE(worst, tolerance);
}

INSTANTIATE_TEST_SUITE_P(Files, ImageGolden,
                         testing::Values("rgb.png", "alpha.png", "gray.png", "palette.png", "one_bit.png", "exif1.png",
                                         "exif2.png", "exif3.png", "exif4.png", "exif5.png", "exif6.png", "exif7.png",
                                         "exif8.png", "plain.jpg", "turned.jpg"),
                         [](const auto& file) { return file.param.substr(0, file.param.find('.')); });

std::span<const std::byte> span_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(Image, png_text_and_pixels_survive_a_round_trip) {
  TempFolder folder;
  const Image image{3, 2, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 255}};
  const io::PngText text{{"comment", "{\"seed\": 1}"}, {"prompt", "ein schöner Hund 🐕"}, {"empty", ""}};
  io::save_png(folder / "a.png", image, text);
  EXPECT_EQ(io::load_image(folder / "a.png").rgb, image.rgb);
  EXPECT_EQ(io::read_png_text(folder / "a.png"), text);
  EXPECT_NE(read_all(folder / "a.png").find(std::string("tEXtcomment\0{\"seed\": 1}", 23)), std::string::npos);
  expect_bad([&] { io::save_png(folder / "a.png", image, {}, io::IfExists::refuse); }, "exists", ErrorCode::output);
  expect_bad([&] { io::read_png_text(golden("plain.jpg")); }, "wanted a PNG");
}

TEST(Image, Row39_other_formats_and_cut_files_are_refused) {
  const auto refuse = [](const std::string& bytes, const std::string& part) {
    expect_bad([&] { io::decode_image(span_of(bytes), "x.png"); }, part);
  };
  refuse("", "wanted a PNG or JPEG");
  refuse("GIF89a\1\0\1\0", "wanted a PNG or JPEG");
  refuse(std::string("\0\0\2\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x18\0", 18), "wanted a PNG or JPEG");
  refuse("BM", "wanted a PNG or JPEG");
  for (const std::string name : {"rgb.png", "plain.jpg"}) {
    const std::string whole = read_all(golden(name));
    for (size_t size = 0; size < whole.size() - 12; ++size) refuse(whole.substr(0, size), "x.png");
  }
  refuse(read_all(golden("plain.jpg")).substr(0, 700), "cut short");
}

/// A PNG that claims a size; its data is of a 1x1 picture.
std::string png_of_size(uint32_t width, uint32_t height) {
  const auto bytes = io::encode_png(1, 1, std::vector<uint8_t>{1, 2, 3});
  std::string png(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (int i = 0; i < 4; ++i) {
    png[static_cast<size_t>(16 + i)] = static_cast<char>(width >> (24 - 8 * i));
    png[static_cast<size_t>(20 + i)] = static_cast<char>(height >> (24 - 8 * i));
  }
  return png;
}

TEST(Image, Row39_size_bombs_are_refused_before_decoding) {
  for (const auto& [width, height] :
       {std::pair{65500u, 65500u}, {16384u, 16384u}, {8001u, 8000u}, {0xFFFFFFFFu, 1u}, {0u, 1u}}) {
    const std::string png = png_of_size(width, height);
    expect_bad([&] { io::decode_image(span_of(png), "x.png"); }, "x.png");
  }
  const std::string png = png_of_size(100, 100);
  expect_bad([&] { io::decode_image(span_of(png), "x.png"); }, "checksum");
}

TEST(Image, Row39_a_few_bytes_that_claim_megapixels_are_refused) {
  std::string jpeg = read_all(golden("plain.jpg"));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, jpeg.npos);
  jpeg.replace(frame + 5, 4, std::string("\x10\x00\x18\x00", 4));
  expect_bad([&] { io::decode_image(span_of(jpeg), "x"); }, "wanted at least 12288 bytes for 6144x4096 pixels");
}

TEST(Image, one_colour_packs_tightly_and_is_read) {
  const int64_t width = 3000, height = 2000;
  const auto png = io::encode_png(width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), 7));
  const io::Image image = io::decode_image(png, "x");
  EXPECT_EQ(image.width, width);
  EXPECT_EQ(image.rgb.back(), 7);
}

TEST(Image, Row39_huffman_tables_with_too_many_codes_are_refused) {
  std::string jpeg = read_all(golden("plain.jpg"));
  const size_t table = jpeg.find("\xff\xc4");
  ASSERT_NE(table, jpeg.npos);
  for (size_t i = 0; i < 16; ++i) jpeg[table + 5 + i] = '\xff';
  expect_bad([&] { io::decode_image(span_of(jpeg), "x"); }, "more than 255 codes");
}

TEST(Image, Row39_huffman_tables_past_their_segment_are_refused) {
  std::string jpeg = read_all(golden("plain.jpg"));
  const std::string table = std::string("\0\4", 2) + std::string(15, '\0') + "abcd";  // four codes of two bits
  jpeg.insert(jpeg.find("\xff\xda"), std::string("\xff\xc4\0\x1f", 4) + table + std::string(8, '\0'));
  expect_bad([&] { io::decode_image(span_of(jpeg), "x"); }, "longer than its segment");
}

TEST(Image, Row39_huffman_tables_that_are_named_and_never_defined_hold_nothing) {
  std::string jpeg = read_all(golden("plain.jpg"));
  for (size_t table = jpeg.find("\xff\xc4"); table != jpeg.npos; table = jpeg.find("\xff\xc4"))
    jpeg[table + 1] = '\xe4';
  const auto decoded = [&] {
    try {
      return io::decode_image(span_of(jpeg), "x").rgb;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
      return std::vector<uint8_t>{};
    }
  };
  const auto first = decoded();
  EXPECT_EQ(decoded(), first) << "not what the memory held before";
}

TEST(Image, Row39_every_single_byte_change_is_survived) {
  for (const std::string name : {"rgb.png", "palette.png", "exif6.png", "turned.jpg"}) {
    const std::string whole = read_all(golden(name));
    for (size_t i = 0; i < whole.size(); ++i) {
      for (const char value : {'\0', '\xff', '\x7f', '\x80'}) {
        std::string changed = whole;
        changed[i] = value;
        try {
          io::decode_image(span_of(changed), "x");
        } catch (const Error& error) {
          EXPECT_EQ(exit_code(error.code()), 3) << error.what();
        }
      }
    }
  }
}

}  // namespace
}  // namespace t2v::test
