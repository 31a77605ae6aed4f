// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "io/config.hpp"
#include "io_support.hpp"

namespace t2v::test {
namespace {

using io::Config;
using io::Json;
using io::parse_json;

Config config(const std::string& text) { return Config(parse_json(text, "unet/config.json"), "unet/config.json"); }

TEST(Json, keeps_the_order_of_keys_and_all_values) {
  EXPECT_EQ(parse_json(R"({"b":[1,-2,3.5,true,null,"ä\u00e4"],"a":{"c":{}}})", "x").dump(),
            R"({"b":[1,-2,3.5,true,null,"ää"],"a":{"c":{}}})");
}

TEST(Json, Row25_depth_size_and_item_bombs_are_refused) {
  expect_bad([] { parse_json(std::string(1'000'000, '['), "x"); }, "deeper than 16");
  expect_bad([] { parse_json("{\"a\":\"" + std::string(2'000'000, 'x') + "\"}", "x"); }, "at most 1.05 MB");
  expect_bad([] { parse_json("[" + std::string(8'000'000, '1') + "]", "x", {.max_bytes = 64 << 20}); }, "too large");
  std::string many = "[";
  for (int i = 0; i < 3'000'000; ++i) many += "0,";
  expect_bad([&] { parse_json(many + "0]", "x", {.max_bytes = 64 << 20}); }, "more than 2097152 values");
}

TEST(Json, many_keys_take_linear_time) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":1";
  const double start = processor_seconds();
  EXPECT_EQ(parse_json(text + "}", "x", {.max_bytes = 64 << 20}).size(), 200'000u);
  EXPECT_LT(processor_seconds() - start, 5.0);
}

TEST(Json, duplicates_trailing_text_comments_and_bad_utf8_are_refused) {
  expect_bad([] { parse_json(R"({"a":1,"a":2})", "x"); }, "'a' appears twice");
  expect_bad([] { parse_json(R"({"a":{"b":1,"b":1}})", "x"); }, "'b' appears twice");
  EXPECT_NO_THROW(parse_json(R"([{"a":1},{"a":2}])", "x"));
  for (const std::string text : {"{} {}", "{}x", "[1,]", "{,}", "// c\n{}", "{\"a\":\"\xff\"}", "{\"a\":01}", "'a'",
                                 "\"a", "+1", "1e999", "tru"}) {
    expect_bad([&] { parse_json(text, "x"); }, "bad JSON: x: ");
  }
  expect_bad([] { parse_json(std::string("{}\0{}", 5), "x"); }, "NUL");
  expect_bad([] { parse_json("", "x"); }, "got nothing");
  expect_bad([] { parse_json(" \n", "x"); }, "got nothing");
}

TEST(Json, nonfinite_literals_are_read_only_where_allowed) {
  expect_bad([] { parse_json("[Infinity]", "x"); }, "not JSON");
  expect_bad([] { parse_json("[NaN]", "x"); }, "not JSON");
  const Json json = parse_json(R"({"a":-Infinity,"b":Infinity,"c":NaN,"d":"NaN \"Infinity\" \\","e":[1.5]})", "x",
                               {.allow_nonfinite = true});
  EXPECT_EQ(json["a"].get<double>(), -INFINITY);
  EXPECT_EQ(json["b"].get<double>(), INFINITY);
  EXPECT_TRUE(std::isnan(json["c"].get<double>()));
  EXPECT_EQ(json["d"], "NaN \"Infinity\" \\");
  EXPECT_EQ(json["e"][0], 1.5);
  for (const std::string text :
       {"[-NaNx]", "[Infinit]", "[InfinityInfinity]", "Infinity1", "[1Infinity]", "[NaN2]", "[--Infinity]"}) {
    expect_bad([&] { parse_json(text, "x", {.allow_nonfinite = true}); }, "not JSON");
  }
}

TEST(Config, getters_give_values_fallbacks_and_scalars_as_lists) {
  const Config c = config(R"({"i":3,"d":2,"b":true,"s":"x","n":null,"l":[1,2],"ss":["a"],"ds":[0.5,1]})");
  EXPECT_EQ(c.get_int("i"), 3);
  EXPECT_EQ(c.get_int("n", 7), 7);
  EXPECT_EQ(c.get_int("absent", 8), 8);
  EXPECT_EQ(c.get_double("d"), 2.0);
  EXPECT_TRUE(c.get_bool("b"));
  EXPECT_EQ(c.get_string("s"), "x");
  EXPECT_EQ(c.get_ints("i", 4), (std::vector<int64_t>{3, 3, 3, 3}));
  EXPECT_EQ(c.get_ints("l", 2), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(c.get_int_list("i"), std::vector<int64_t>{3});
  EXPECT_EQ(c.get_strings("s"), std::vector<std::string>{"x"});
  EXPECT_EQ(c.get_doubles("ds"), (std::vector<double>{0.5, 1}));
  EXPECT_FALSE(c.has("n"));
  EXPECT_EQ(c.unread_keys(), std::vector<std::string>{"ss"});
}

TEST(Config, Row23_wrong_types_and_ranges_name_file_key_wanted_and_got) {
  const Config c = config(
      R"({"huge":99999999999999999999,"u":9223372036854775808,"f":2.5,"neg":-1,"s":"8","l":[1,2],"m":[1,"x"],"o":{},"z":0,"t":true})");
  expect_bad([&] { c.get_int("neg", std::nullopt, 1, 64); },
             "unet/config.json: neg: wanted an integer from 1 to 64, got -1");
  expect_bad([&] { c.get_int("huge"); }, "huge: wanted an integer, got");
  expect_bad([&] { c.get_int("u"); }, "got 9223372036854775808");
  expect_bad([&] { c.get_int("f"); }, "got 2.5");
  expect_bad([&] { c.get_int("s"); }, "got the string '8'");
  expect_bad([&] { c.get_int("l"); }, "got a list of 2");
  expect_bad([&] { c.get_int("t"); }, "got true");
  expect_bad([&] { c.get_int("z", std::nullopt, 1); }, "at least 1, got 0");
  expect_bad([&] { c.get_int("absent"); }, "no such key");
  const Config lines(parse_json(R"({"two\nlines": "x"})", "x"), "x");
  expect_bad([&] { lines.get_int("two\nlines"); }, "wanted an integer");  // on one line, see expect_bad
  expect_bad([&] { c.get_double("s"); }, "wanted a number");
  expect_bad([&] { c.get_bool("z"); }, "wanted true or false, got 0");
  expect_bad([&] { c.get_string("z"); }, "wanted a string");
  expect_bad([&] { c.get_ints("l", 4); }, "wanted a list of 4 integers, got a list of 2");
  expect_bad([&] { c.get_ints("m", 2); }, "got the string 'x'");
  expect_bad([&] { c.get_int_list("o"); }, "got an object");
  expect_bad([&] { c.get_ints("neg", 3, std::nullopt, 0); }, "at least 0, got -1");
  expect_bad([&] { Config(Json::array(), "x"); }, "wanted an object, got a list of 0");
}

TEST(Config, Row25_a_thousand_keys_are_enough) {
  std::string text = "{\"k\":0";
  for (int i = 0; i < 1000; ++i) text += ",\"" + std::to_string(i) + "\":0";
  expect_bad([&] { Config(parse_json(text + "}", "x"), "x"); }, "at most 1000 keys");
}

TEST(Config, nan_is_refused_where_it_is_used) {
  TempFolder folder;
  const Config c = Config::load(folder.write("scheduler_config.json", R"({"a":NaN,"b":-Infinity})"));
  expect_bad([&] { c.get_double("a"); }, "got NaN");
  EXPECT_EQ(c.get_double("b"), -INFINITY);
}

TEST(Config, Row24_known_keys_that_are_not_implemented_are_unsupported) {
  const Config c = config(R"({"rescale_betas_zero_snr":true,"thresholding":false,"n":null})");
  expect_bad([&] { c.require("rescale_betas_zero_snr", false, "not built"); }, "wanted false, got true (not built)",
             ErrorCode::unsupported);
  EXPECT_NO_THROW(c.require("thresholding", false, ""));
  EXPECT_NO_THROW(c.require("n", false, ""));
  EXPECT_NO_THROW(c.require("absent", false, ""));
}

}  // namespace
}  // namespace t2v::test
