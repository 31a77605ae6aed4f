// SPDX-License-Identifier: Apache-2.0
// The settings JSON goes through every format and comes back the same.
#include <nlohmann/json.hpp>

#include "media/metadata.hpp"
#include "media/png_file.hpp"
#include "media_support.hpp"

namespace t2v::media::test {
namespace {

using Json = nlohmann::ordered_json;

Json settings(size_t prompt_bytes = 0) {
  Json json;
  json["t2v"] = "0.1.0";
  json["prompt"] =
      "a \"quoted\" fox, it's = ; # \\ <&> ]]> 50% \n new line \t tab, caf\u00e9, \u4e2d\u6587, "
      "\U0001F600";
  json["padding"] = std::string(prompt_bytes, 'x');
  json["seed"] = 18446744073709551615ULL;
  json["ai_generated"] = true;
  return json;
}

constexpr const char* kFiles[] = {"a.mp4",  "a.mov", "a.mkv", "a.webm",   "a.gif",
                                  "a.webp", "a.y4m", "a.png", "a%02d.png"};

TEST(Metadata, Row75_round_trip_keeps_every_character) {
  for (const size_t padding : {size_t{0}, size_t{253}, size_t{100'000}}) {
    const Json want = settings(padding);
    for (const char* name : kFiles) {
      TempFolder folder;
      VideoSpec spec = spec_of(32, 32);
      spec.metadata = want.dump();
      write_clip(folder / name, spec, std::string_view(name) == "a.png" ? 1 : 2);
      const auto got = read_metadata(folder / name);
      ASSERT_TRUE(got) << name;
      EXPECT_EQ(Json::parse(*got), want) << name << " " << padding;
    }
  }
}

TEST(Metadata, Row74_a_single_webp_picture_keeps_it_too) {
  TempFolder folder;
  VideoSpec spec = spec_of(32, 32);
  spec.metadata = settings().dump();
  write_clip(folder / "a.webp", spec, 1);
  EXPECT_EQ(Json::parse(read_metadata(folder / "a.webp").value()), settings());
}

TEST(Metadata, absent_when_none_was_written) {
  for (const char* name : kFiles) {
    TempFolder folder;
    write_clip(folder / name, spec_of(32, 32), std::string_view(name) == "a.png" ? 1 : 2);
    EXPECT_FALSE(read_metadata(folder / name)) << name;
  }
}

TEST(Metadata, missing_file_is_an_input_error) {
  TempFolder folder;
  error_of(ErrorCode::bad_input, [&] { read_metadata(folder / "none.mp4"); });
}

TEST(Metadata, ascii_json_escapes_and_means_the_same) {
  const std::string text = settings().dump();
  const std::string ascii = ascii_json(text);
  for (const char c : ascii) ASSERT_LT(static_cast<unsigned char>(c), 0x80);
  EXPECT_EQ(Json::parse(ascii), Json::parse(text));
  EXPECT_EQ(ascii_json("{\"a\":\"\xff\"}"), "{\"a\":\"\\ufffd\"}");
}

}  // namespace
}  // namespace t2v::media::test
