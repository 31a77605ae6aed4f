// SPDX-License-Identifier: Apache-2.0
#include "text/added_vocabulary.hpp"

#include <algorithm>
#include <utility>

#include "text/unicode.hpp"

namespace t2v::text {

namespace {

/// Where the white space at the end of `text` begins.
size_t without_trailing_spaces(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = first_code_point(text.substr(at));
    at += point.bytes;
    if (!is_space(point.value)) end = at;
  }
  return end;
}

/// Length of the white space at the start of `text`.
size_t leading_spaces(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const CodePoint point = first_code_point(text.substr(at));
    if (!is_space(point.value)) break;
    at += point.bytes;
  }
  return at;
}

}  // namespace

AddedVocabulary::AddedVocabulary(const std::vector<AddedToken>& tokens, const Find& find, int64_t model_size,
                                 Normalize normalize)
    : normalize_(std::move(normalize)) {
  int64_t next_id = model_size;
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    const auto known = ids_.find(token.content);
    int64_t id = 0;
    if (known != ids_.end()) {
      id = known->second;
    } else if (const auto in_model = find(token.content)) {
      id = *in_model;
    } else {
      id = next_id++;
    }
    ids_[token.content] = id;
    by_id_[id] = token;
  }
  for (const auto& [id, token] : by_id_) {
    std::string text = token.normalized ? normalize_(token.content) : token.content;
    if (text.empty()) continue;
    Patterns& patterns = token.normalized ? normalized_ : raw_;
    patterns[static_cast<unsigned char>(text[0])].push_back({std::move(text), id});
  }
  for (Patterns* patterns : {&raw_, &normalized_}) {
    for (auto& bucket : *patterns) {
      std::ranges::sort(bucket, [](const Pattern& a, const Pattern& b) {
        return a.text.size() != b.text.size() ? a.text.size() > b.text.size() : a.id < b.id;
      });
    }
  }
}

std::optional<int64_t> AddedVocabulary::find(const std::string& content) const {
  const auto it = ids_.find(content);
  return it == ids_.end() ? std::nullopt : std::optional<int64_t>(it->second);
}

std::vector<AddedVocabulary::Part> AddedVocabulary::split(std::string_view prompt) const {
  std::vector<Part> raw_parts, parts;
  split_by(raw_, prompt, raw_parts);
  for (Part& part : raw_parts) {
    if (part.id) {
      parts.push_back(std::move(part));
    } else {
      split_by(normalized_, normalize_(part.text), parts);
    }
  }
  return parts;
}

void AddedVocabulary::split_by(const Patterns& patterns, std::string_view text, std::vector<Part>& out) const {
  size_t done = 0;  // everything before is in `out`
  for (size_t at = 0; at < text.size();) {
    const auto& bucket = patterns[static_cast<unsigned char>(text[at])];
    const auto hit =
        std::ranges::find_if(bucket, [&](const Pattern& pattern) { return text.substr(at).starts_with(pattern.text); });
    if (hit == bucket.end()) {
      ++at;
      continue;
    }
    const AddedToken& token = by_id_.at(hit->id);
    size_t start = at;
    size_t stop = at + hit->text.size();
    at = stop;
    if (token.lstrip) start = std::max(without_trailing_spaces(text.substr(0, start)), done);
    if (token.rstrip) stop += leading_spaces(text.substr(stop));
    if (done < start) out.push_back({std::nullopt, std::string(text.substr(done, start - done))});
    out.push_back({hit->id, {}});
    done = stop;
    at = std::max(at, done);
  }
  if (done < text.size()) out.push_back({std::nullopt, std::string(text.substr(done))});
}

}  // namespace t2v::text
