// SPDX-License-Identifier: Apache-2.0
// Tokens that are found in the prompt before the model splits it: <|endoftext|>, </s>, a pad token
// such as "!". Follows AddedVocabulary of the tokenizers library (0.23): tokens that are not
// `normalized` are searched in the prompt as typed, the others in the normalised rest; at each
// place the longest one wins.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace t2v::text {

struct AddedToken {
  std::string content;
  bool lstrip = false;     ///< takes the white space on its left along
  bool rstrip = false;     ///< takes the white space on its right along
  bool normalized = true;  ///< searched, in its normalised spelling, in the normalised prompt
  bool special = false;    ///< left out by decoders; matters here only when two tokens are compared
  bool operator==(const AddedToken&) const = default;
};

class AddedVocabulary {
 public:
  using Normalize = std::function<std::string(std::string_view)>;
  using Find = std::function<std::optional<int64_t>(const std::string&)>;

  /// Adds `tokens` in order, the last of the same content wins. One that `find` (the model's
  /// vocabulary) does not know gets the next id from `model_size` on.
  AddedVocabulary(const std::vector<AddedToken>& tokens, const Find& find, int64_t model_size, Normalize normalize);

  /// A part of the prompt: the id of an added token, or normalised text for the model.
  struct Part {
    std::optional<int64_t> id;
    std::string text;
  };
  std::vector<Part> split(std::string_view prompt) const;

  std::optional<int64_t> find(const std::string& content) const;
  const std::unordered_map<int64_t, AddedToken>& by_id() const { return by_id_; }

 private:
  struct Pattern {
    std::string text;
    int64_t id;
  };
  using Patterns = std::array<std::vector<Pattern>, 256>;  // by first byte, longest first

  void split_by(const Patterns& patterns, std::string_view text, std::vector<Part>& out) const;

  Normalize normalize_;
  std::unordered_map<std::string, int64_t> ids_;
  std::unordered_map<int64_t, AddedToken> by_id_;
  Patterns raw_, normalized_;
};

}  // namespace t2v::text
