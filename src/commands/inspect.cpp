// SPDX-License-Identifier: Apache-2.0
#include "commands/inspect.hpp"

#include <array>
#include <filesystem>
#include <fstream>

#include "cli/preflight.hpp"
#include "io/single_file.hpp"
#include "io/tensor_file.hpp"
#include "media/metadata.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

/// safetensors begins with the length of its header (8 bytes, little endian) and '{'; PyTorch files
/// are zips or pickles.
bool looks_like_tensors(const std::string& path) {
  std::error_code problem;
  if (!fs::is_regular_file(path, problem)) return false;  // opening a FIFO would wait for a writer
  std::ifstream in(path, std::ios::binary);
  std::array<char, 9> head{};
  in.read(head.data(), head.size());
  if (in.gcount() < static_cast<std::streamsize>(head.size())) return false;
  const bool is_safetensors = head[8] == '{' && head[6] == 0 && head[7] == 0;
  const bool is_zip = head[0] == 'P' && head[1] == 'K' && head[2] == 3 && head[3] == 4;
  const bool is_pickle = head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
  return is_safetensors || is_zip || is_pickle;
}

}  // namespace

FileKind kind_of(const std::string& path) {
  std::error_code problem;
  if (fs::is_directory(path, problem)) return FileKind::checkpoint;
  if (cli::is_frame_pattern(path) || !looks_like_tensors(path)) return FileKind::media;
  const auto file = io::open_tensor_file(path);
  if (file->tensors().contains("latents")) return FileKind::latents;
  return io::single_file_layout(*file) ? FileKind::checkpoint : FileKind::weights;
}

std::string read_settings(const std::string& path) {
  const FileKind kind = kind_of(path);
  if (kind == FileKind::latents) {
    const auto file = io::open_tensor_file(path);
    if (const auto found = file->metadata().find("settings"); found != file->metadata().end())
      return found->second;
  } else if (kind == FileKind::media) {
    if (auto found = media::read_metadata(path)) return *found;
  }
  throw Error(ErrorCode::bad_input, path + ": wanted settings recorded by t2v, got none",
              "files made with --no-metadata, or edited since, have none");
}

}  // namespace t2v::commands
