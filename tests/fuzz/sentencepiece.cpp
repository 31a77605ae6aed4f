// SPDX-License-Identifier: Apache-2.0
// Bytes -> spiece.model or tokenizer.json of a unigram tokenizer (parts end with byte 0x1E in the
// second form), then prompts through it: the reader that takes the place of the SentencePiece
// library, its normalisation map and the search for the best pieces.
#include "fuzz_support.hpp"
#include "text/spm.hpp"

namespace {

constexpr uint8_t kEndOfPart = 0x1E;

void encode(const t2v::text::Tokenizer& tokenizer, std::string_view prompt) {
  const t2v::text::Tokens tokens = tokenizer.encode(prompt, 64);
  t2v::fuzz::require(tokens.ids.size() == 64 && tokens.mask.size() == 64);
  for (const int64_t id : tokens.ids) t2v::fuzz::require(id >= 0 && id < tokenizer.vocab_size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using t2v::ErrorCode;
  static const t2v::fuzz::FuzzFolder folder;
  t2v::fuzz::Source source(data, size);
  folder.clear();
  std::string prompt = "aa a";
  if (size > 0 && data[0] == '{') {
    folder.write("tokenizer.json", source.until(kEndOfPart));
    if (const std::string part = source.until(kEndOfPart); !part.empty()) folder.write("tokenizer_config.json", part);
    prompt = source.rest();
  } else {
    folder.write("spiece.model", source.rest());
    prompt.assign(reinterpret_cast<const char*>(data), std::min<size_t>(size, 64));
  }
  t2v::fuzz::expect_clean(
      [&] {
        const auto tokenizer = t2v::text::SpmTokenizer::open(folder.path());
        encode(*tokenizer, "a red ci\xCC\x81rcle </s> \xEF\xAC\x81 \xC2\xA0 \xE9\xBE\x98");
        encode(*tokenizer, prompt);
      },
      {ErrorCode::bad_input, ErrorCode::unsupported});
  return 0;
}
