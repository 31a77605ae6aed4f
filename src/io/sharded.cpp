// SPDX-License-Identifier: Apache-2.0
// Sharded checkpoints: an index JSON whose weight_map gives every tensor's file (huggingface_hub's
// layout).
#include <algorithm>
#include <set>

#include "core/log.hpp"
#include "core/text.hpp"
#include "io/config.hpp"
#include "io/formats.hpp"
#include "io/json_error.hpp"
#include "io/model_links.hpp"
#include "io/shard_index.hpp"

namespace t2v::io {

namespace {

constexpr size_t kMaxShards = 4096;
// A row of 100,000 tensors takes about 100 bytes; the largest published index has a tenth of that.
constexpr size_t kMaxIndexBytes = size_t{12} << 20, kMaxIndexItems = 150'000;
constexpr size_t kMaxProblems = 10;  // shown in one message

class ShardedTensorFile final : public TensorFile {
 public:
  ShardedTensorFile(std::string where, std::vector<std::shared_ptr<const TensorFile>> shards, TensorMap tensors,
                    std::map<std::string, std::string> metadata)
      : where_(std::move(where)),
        shards_(std::move(shards)),
        tensors_(std::move(tensors)),
        metadata_(std::move(metadata)) {}
  const TensorMap& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string where() const override { return where_; }
  int64_t file_bytes() const override {
    int64_t total = 0;
    for (const auto& shard : shards_) total += shard->file_bytes();
    return total;
  }
  /// Every shard maps its file in the same way, so any of them can release any view.
  void release(const TensorView& view) const override {
    if (!shards_.empty()) shards_.front()->release(view);
  }

 private:
  std::string where_;
  std::vector<std::shared_ptr<const TensorFile>> shards_;  // kept for the views into them
  TensorMap tensors_;
  std::map<std::string, std::string> metadata_;
};

Error bad_index(const std::string& where, const std::string& what, std::string hint = {}) {
  return Error(ErrorCode::bad_input, "bad shard index: " + where + ": " + what, std::move(hint));
}

/// Everything that is wrong with a set of shards, gathered so that the user sees it at once.
class Problems {
 public:
  void add(std::string problem) {
    if (++count_ <= kMaxProblems) shown_.push_back(std::move(problem));
  }
  void throw_if_any(const std::string& where) const {
    if (count_ == 0) return;
    const size_t hidden = count_ - shown_.size();
    throw bad_index(where, join(shown_, "; ") + (hidden > 0 ? "; and " + std::to_string(hidden) + " more" : ""),
                    "download the model again: its files do not belong together or are not complete");
  }

 private:
  std::vector<std::string> shown_;
  size_t count_ = 0;
};

}  // namespace

bool is_plain_file_name(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.size() > 255) return false;
  if (name.size() >= 2 && name[1] == ':') return false;  // a drive letter
  return std::none_of(name.begin(), name.end(),
                      [](char c) { return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20; });
}

ShardIndex parse_shard_index(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where, {.max_bytes = kMaxIndexBytes, .max_items = kMaxIndexItems});
  if (!json.is_object()) throw bad_index(where, "wanted an object, got something else");
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object()) throw bad_index(where, "wanted an object 'weight_map', got none");
  ShardIndex index;
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string())
      throw bad_index(where, "weight_map: '" + printable(tensor) + "': wanted a file name, got something else");
    const auto& name = file.get_ref<const std::string&>();
    if (!is_plain_file_name(name)) {
      throw bad_index(where, "weight_map: wanted plain file names beside the index, got '" + printable(name) + "'",
                      "do not use this model: its index points outside of its folder");
    }
    if (files.insert(name).second && files.size() > kMaxShards) throw bad_index(where, "more than 4096 shards");
    index.file_of.emplace(tensor, name);
  }
  index.files.assign(files.begin(), files.end());
  if (index.files.empty()) throw bad_index(where, "weight_map is empty");
  return index;
}

ShardIndex load_shard_index(const std::filesystem::path& index_file) {
  return parse_shard_index(read_file(index_file, kMaxIndexBytes), index_file.string());
}

std::shared_ptr<const TensorFile> open_sharded(const std::filesystem::path& index_file) {
  const std::string where = index_file.string();
  const ShardIndex index = load_shard_index(index_file);
  Problems problems;
  std::vector<std::shared_ptr<const TensorFile>> shards;
  TensorMap tensors;
  std::map<std::string, std::string> metadata, seen_in;
  for (const auto& name : index.files) {
    const auto path = index_file.parent_path() / name;
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      problems.add("missing shard " + name);
      continue;
    }
    try {
      refuse_foreign_link(path, index_file.parent_path().parent_path());
      shards.push_back(open_tensor_file(path));
    } catch (const Error& problem) {
      problems.add(problem.what());
      continue;
    }
    for (const auto& [tensor, view] : shards.back()->tensors()) {
      const auto [seen, is_new] = seen_in.emplace(tensor, name);
      if (!is_new) problems.add("'" + printable(tensor) + "' is in " + seen->second + " and in " + name);
      tensors.emplace(tensor, view);
    }
    for (const auto& [key, value] : shards.back()->metadata()) metadata.emplace(key, value);
  }
  const bool all_opened = shards.size() == index.files.size();
  for (const auto& [tensor, file] : index.file_of) {
    const auto seen = seen_in.find(tensor);
    const bool is_elsewhere = seen != seen_in.end() && seen->second != file;
    if (is_elsewhere || (seen == seen_in.end() && all_opened))
      problems.add("'" + printable(tensor) + "' is not in " + file);
  }
  problems.throw_if_any(where);
  if (tensors.size() > index.file_of.size()) {
    log::debug("{}: {} tensors of the shards are not in weight_map", where, tensors.size() - index.file_of.size());
  }
  return std::make_shared<ShardedTensorFile>(where, std::move(shards), std::move(tensors), std::move(metadata));
}

}  // namespace t2v::io
