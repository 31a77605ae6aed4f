// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/charsmap.hpp"
#include "text/spm.hpp"
#include "text/spm_precheck.hpp"
#include "text_files.hpp"

namespace t2v::text {
namespace {

using testing::HasSubstr;

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) {
    out += static_cast<char>((value & 0x7F) | 0x80);
  }
  return out + static_cast<char>(value);
}
std::string bytes_field(uint32_t id, std::string_view bytes) {
  return varint(id << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}
std::string number_field(uint32_t id, uint64_t value) { return varint(id << 3) + varint(value); }
std::string little_endian(uint32_t value) {
  std::string out;
  for (int i = 0; i < 4; ++i) {
    out += static_cast<char>(value >> (8 * i));
  }
  return out;
}
std::string piece(std::string_view text, float score = 0, int type = 1) {
  return bytes_field(1, bytes_field(1, text) + varint(2 << 3 | 5) + little_endian(std::bit_cast<uint32_t>(score)) +
                            number_field(3, static_cast<uint64_t>(type)));
}
std::string basic_pieces() { return piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2); }
std::string charsmap_field(std::string_view map) { return bytes_field(3, bytes_field(2, map)); }

/// Opens `model` as spiece.model and encodes a prompt with it.
void load_and_encode(const std::string& model) {
  test::TempFolder folder;
  folder.write("spiece.model", model);
  const auto tokenizer = SpmTokenizer::open(folder.path());
  for (const char* prompt : {"a red ci\u0301rcle", "龘 \u00a0 ﬁ", ""}) {
    for (const int64_t id : tokenizer->encode(prompt, 16).ids) {
      ASSERT_GE(id, 0);
      ASSERT_LT(id, tokenizer->vocab_size());
    }
  }
}

TEST(SpmPrecheck, a_hand_made_model_is_read) {
  const SpmModel model = read_spm_model(basic_pieces() + piece("\u2581a", -1.5f) + piece(std::string("\0", 1), -2) +
                                            piece("<0x41>", 0, 6) + bytes_field(2, number_field(3, 1)) +
                                            number_field(9, 7) + varint(10 << 3 | 1) + std::string(8, 'x'),
                                        "spiece.model");
  ASSERT_EQ(model.pieces.size(), 6u);
  EXPECT_EQ(model.pieces[3].text, "\u2581a");
  EXPECT_EQ(model.pieces[3].score, -1.5f);
  EXPECT_EQ(model.pieces[1].type, PieceType::control);
  EXPECT_EQ(model.pieces[5].type, PieceType::byte);
}

TEST(SpmPrecheck, Row34_hostile_models_are_refused) {
  struct Case {
    std::string model;
    const char* message;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Case cases[] = {
      {"", "no pieces"},
      {"version https://git-lfs.github.com/spec/v1\n", "not a SentencePiece model"},
      {basic_pieces() + piece(std::string(200'000, 'x')), "1024"},
      {basic_pieces() + piece(""), "empty piece"},
      {basic_pieces() + piece("a", nan), "score"},
      {basic_pieces() + piece("a", std::numeric_limits<float>::infinity()), "score"},
      {basic_pieces() + piece("a") + piece("a"), "twice"},
      {basic_pieces() + piece("\xFF\xFE"), "UTF-8"},
      {basic_pieces() + piece("a", 0, 9), "piece type"},
      {basic_pieces() + "\x0A", "more bytes"},
      {basic_pieces() + "\x0A\xFF\xFF\xFF\xFF\x0F", "more bytes"},
      {basic_pieces() + "\x0A" + std::string(10, '\xFF') + "\x01", "10 bytes"},
      {basic_pieces() + "\x0B", "wire type"},
      {basic_pieces() + std::string("\x00", 1), "field number"},
      {basic_pieces() + number_field(1, 3), "wanted bytes"},
      {basic_pieces() + bytes_field(1, bytes_field(2, "abcd")), "wanted a number"},
      {basic_pieces() + charsmap_field("abc"), "charsmap"},
      {basic_pieces() + charsmap_field(little_endian(0)), "charsmap"},
      {basic_pieces() + charsmap_field(little_endian(1u << 30) + "abcd"), "charsmap"},
      {basic_pieces() + charsmap_field(little_endian(4) + little_endian(0xFFFFFFFF)), "charsmap"},
  };
  for (const Case& bad : cases) {
    const Error error = test::error_of([&] { load_and_encode(bad.model); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(bad.message));
  }
  const Error bpe = test::error_of([&] { load_and_encode(basic_pieces() + bytes_field(2, number_field(3, 2))); });
  EXPECT_EQ(bpe.code(), ErrorCode::unsupported);
}

TEST(SpmPrecheck, Row34_a_trie_that_leaves_its_array_is_refused_when_it_is_met) {
  // Root with offset 0, the unit of 'a' with a far offset and with a leaf: reading the leaf would
  // be out of bounds.
  std::string trie(4 * 128, '\0');
  const auto put = [&](size_t at, uint32_t unit) { trie.replace(at * 4, 4, little_endian(unit)); };
  put('a', 'a' | 1 << 8 | 0x1FFFFF << 10);
  const Charsmap map(little_endian(static_cast<uint32_t>(trie.size())) + trie + "x", "spiece.model");
  EXPECT_EQ(map.normalize("b"), "b");
  EXPECT_EQ(test::error_of([&] { map.normalize("a"); }).code(), ErrorCode::bad_input);
  // The same with a leaf inside the array whose value points behind the replacements.
  put('a', 'a' | 1 << 8 | 1 << 10);
  put('a' ^ 1, 0x80000000 | 1000);
  const Charsmap far(little_endian(static_cast<uint32_t>(trie.size())) + trie + "x", "spiece.model");
  EXPECT_EQ(test::error_of([&] { far.normalize("a"); }).code(), ErrorCode::bad_input);
}

TEST(SpmPrecheck, Row34_a_map_that_makes_text_grow_without_end_is_refused) {
  // 'a' becomes a megabyte; the unit of 'a' has a leaf behind it whose value is 0, the first
  // replacement.
  std::string trie(4 * 128, '\0');
  const auto put = [&](size_t at, uint32_t unit) { trie.replace(at * 4, 4, little_endian(unit)); };
  put('a', 'a' | 1 << 8 | 1 << 10);
  put('a' ^ 1, 0x80000000);
  const std::string head = little_endian(static_cast<uint32_t>(trie.size())) + trie;
  const Charsmap huge(head + std::string(1 << 20, 'x'), "spiece.model");
  const Error error = test::error_of([&] { huge.normalize("an apple"); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("grows"));
  // Eleven times, the most that Unicode asks for, is taken.
  const Charsmap legal(head + std::string(11, 'x'), "spiece.model");
  EXPECT_EQ(legal.normalize(std::string(1000, 'a')).size(), 11'000U);
}

TEST(SpmPrecheck, Row34_no_mutation_of_a_model_does_more_than_throw_an_error) {
  const std::string good = test::read_text(test::kGolden / "bytes.model");
  std::mt19937 random(7);
  const auto below = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  int tried = 0;
  while (tried < 2000 && std::chrono::steady_clock::now() < deadline) {
    std::string model = good;
    for (size_t i = 0, count = 1 + below(8); i < count; ++i) {
      model[below(model.size())] = static_cast<char>(below(256));
    }
    if (below(4) == 0) model.resize(below(model.size()));
    ++tried;
    try {
      load_and_encode(model);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
    }
  }
  EXPECT_GT(tried, 50);
}

TEST(SpmPrecheck, every_cut_of_a_small_model_is_refused_or_read) {
  const std::string good = basic_pieces() + piece("\u2581a", -1) + piece("b", -2) + bytes_field(2, number_field(3, 1));
  for (size_t size = 0; size <= good.size(); ++size) {
    try {
      load_and_encode(good.substr(0, size));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input) << size;
    }
  }
}

}  // namespace
}  // namespace t2v::text
