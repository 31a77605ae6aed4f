// SPDX-License-Identifier: Apache-2.0
#include "io/model_links.hpp"

#include <algorithm>
#include <system_error>

#include "io/json_error.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

namespace fs = std::filesystem;

bool is_inside(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

/// models--NAME/snapshots/REVISION/... links to models--NAME/blobs/HASH.
bool is_hub_blob(const fs::path& target, fs::path folder) {
  for (; folder.has_relative_path(); folder = folder.parent_path()) {
    if (folder.filename() == "snapshots" && is_inside(target, folder.parent_path() / "blobs")) return true;
  }
  return false;
}

}  // namespace

void refuse_foreign_link(const fs::path& file, const fs::path& model) {
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(file, error))) return;
  const fs::path target = fs::canonical(file, error);
  if (error || target.filename() == file.filename()) return;
  const fs::path folder = fs::canonical(model.empty() ? "." : model, error);
  if (error || is_inside(target, folder) || is_hub_blob(target, folder)) return;
  throw Error(
      ErrorCode::bad_input,
      "bad model: " + file.string() + ": wanted a file of this model, got a link to " + printable(target.string(), 200),
      "if you trust it, put the file itself there");
}

}  // namespace t2v::io
