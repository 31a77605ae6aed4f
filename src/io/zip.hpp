// SPDX-License-Identifier: Apache-2.0
// The directory of a zip archive whose entries are stored, as torch.save writes them. Compressed
// entries are refused, so an entry is a span of the file and can't be a bomb.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace t2v::io {

/// Entry name -> its bytes. Names are unique, entries lie inside the file and do not overlap.
/// Error{bad_input}.
std::map<std::string, std::span<const std::byte>, std::less<>> read_zip(std::span<const std::byte> file,
                                                                        const std::string& where);

}  // namespace t2v::io
