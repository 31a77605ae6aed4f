// SPDX-License-Identifier: Apache-2.0
// A tensor file seen under other names, without a copy of its data: how a single-file checkpoint becomes the parts that
// diffusers' folders have.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "io/tensor_file.hpp"

namespace t2v::io {

/// Where a shown tensor comes from: a stored one, or one of `count` equal parts of it along its first axis, or a stored
/// matrix transposed.
struct TensorSource {
  std::string stored;
  int64_t index = 0, count = 1;
  bool transposed = false;
  bool operator==(const TensorSource&) const = default;
};

/// Shown name -> where it comes from.
using TensorNames = std::map<std::string, TensorSource, std::less<>>;

/// Shows the tensors in `names`, which the file must have, and no other. Error{bad_input} when a tensor can't be
/// parted.
std::shared_ptr<const TensorFile> show_tensors(std::shared_ptr<const TensorFile> file, const TensorNames& names);

/// Adds a name; Error{bad_input} naming both tensors when it is taken already.
void show_as(TensorNames& names, const TensorFile& file, std::string shown, TensorSource source);

}  // namespace t2v::io
