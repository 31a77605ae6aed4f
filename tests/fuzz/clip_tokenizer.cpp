// SPDX-License-Identifier: Apache-2.0
// Bytes -> the files of a CLIP tokenizer (parts end with byte 0x1E), then prompts through it. Every
// id must be one the tokenizer claims to have.
#include "fuzz_support.hpp"
#include "text/clip_bpe.hpp"

namespace {

constexpr uint8_t kEndOfPart = 0x1E;

void encode(const t2v::text::Tokenizer& tokenizer, std::string_view prompt) {
  const t2v::text::Tokens tokens = tokenizer.encode(prompt, 77);
  t2v::fuzz::require(tokens.ids.size() == 77 && tokens.mask.size() == 77);
  for (const int64_t id : tokens.ids) t2v::fuzz::require(id >= 0 && id < tokenizer.vocab_size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using t2v::ErrorCode;
  static const t2v::fuzz::FuzzFolder folder;
  t2v::fuzz::Source source(data, size);
  folder.clear();
  const bool is_single = source.one_in(2);
  if (is_single) {
    folder.write("tokenizer.json", source.until(kEndOfPart));
  } else {
    folder.write("vocab.json", source.until(kEndOfPart));
    folder.write("merges.txt", source.until(kEndOfPart));
  }
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
    if (const std::string part = source.until(kEndOfPart); !part.empty()) folder.write(name, part);
  }
  const std::string prompt = source.rest();
  t2v::fuzz::expect_clean(
      [&] {
        const auto tokenizer = t2v::text::ClipBpe::open(folder.path());
        encode(*tokenizer, "A red circle, 2 \xC3\xA9t\xC3\xA9s <|endoftext|>!");
        encode(*tokenizer, prompt);
      },
      {ErrorCode::bad_input, ErrorCode::unsupported});
  return 0;
}
