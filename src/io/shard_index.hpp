// SPDX-License-Identifier: Apache-2.0
// The parsed index of a sharded checkpoint. open_sharded() opens what it names.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::io {

struct ShardIndex {
  std::map<std::string, std::string> file_of;  ///< tensor -> shard
  std::vector<std::string> files;              ///< the shards, sorted, each once; plain names beside the index
};

ShardIndex parse_shard_index(std::string_view text, const std::string& where);
ShardIndex load_shard_index(const std::filesystem::path& index_file);

/// A file name without any way out of its folder. The string is judged, not where links lead: the
/// Hugging Face cache is made of symbolic links.
bool is_plain_file_name(std::string_view name);

}  // namespace t2v::io
