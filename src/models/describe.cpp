// SPDX-License-Identifier: Apache-2.0
#include "models/describe.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

namespace t2v::models {

ComponentInfo describe(const io::Component& component, int64_t parameters) {
  const auto file = component.weights();
  std::set<std::string> dtypes;
  for (const auto& [name, view] : file->tensors()) dtypes.insert(std::string(io::dtype_name(view.dtype)));
  return {component.name, component.class_name, parameters, file->file_bytes(),
          dtypes.size() == 1 ? *dtypes.begin() : "mixed"};
}

c10::ScalarType half_dtype(const io::Component& network) {
  const auto file = network.weights();
  const auto is_bf16 = [](const auto& entry) { return entry.second.dtype == io::DType::bf16; };
  return std::ranges::any_of(file->tensors(), is_bf16) ? c10::kBFloat16 : c10::kHalf;
}

OwnDefaults own_defaults(const io::Checkpoint& checkpoint) {
  OwnDefaults defaults;
  const auto& index = checkpoint.index();
  if (!index.has("t2v") || !index.json()["t2v"].is_object()) return defaults;
  const io::Config own(index.json()["t2v"], index.where() + ": t2v");
  const auto integer = [&](std::string_view key, int64_t max) -> std::optional<int64_t> {
    if (!own.has(key)) return std::nullopt;
    return own.get_int(key, std::nullopt, 1, max);
  };
  defaults.width = integer("width", 8192);
  defaults.height = integer("height", 8192);
  defaults.frames = integer("frames", 100000);
  defaults.steps = integer("steps", 1000);
  defaults.display_scale = integer("display_scale", 16);
  if (own.has("cfg_scale")) defaults.cfg_scale = own.get_double("cfg_scale");
  const auto words = [&](std::string_view key) {
    std::istringstream list(own.get_string(key, ""));
    return std::set<std::string, std::less<>>(std::istream_iterator<std::string>(list), {});
  };
  defaults.vocabulary = {words("known_words"), words("ignored_words"), own.get_string("vocabulary_note", "")};
  if (const auto fps = integer("fps", 240)) defaults.fps = Rational{*fps, 1};
  return defaults;
}

}  // namespace t2v::models
