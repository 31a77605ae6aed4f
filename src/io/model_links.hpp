// SPDX-License-Identifier: Apache-2.0
// Links inside a model's folder. Downloaded models consist of them (the hub's cache), users make
// them, and a hostile archive carries them to have other files of the machine read.
#pragma once

#include <filesystem>

namespace t2v::io {

/// Error{bad_input} when `file`, a part of the model in the folder `model`, is a link that leads out
/// of the model. Three kinds of links are followed: into the model's own folder, into the blobs of
/// the hub cache that the model lies in, and to a file of the same name, which is a copy that
/// somebody keeps elsewhere. What is not there, or no link, is no error here.
void refuse_foreign_link(const std::filesystem::path& file, const std::filesystem::path& model);

}  // namespace t2v::io
