// SPDX-License-Identifier: Apache-2.0
#include "commands/inspect.hpp"

#include <array>
#include <filesystem>
#include <fstream>

#include "cli/preflight.hpp"
#include "commands/kept_run.hpp"
#include "commands/settings.hpp"
#include "engine/run_state.hpp"
#include "io/lora.hpp"
#include "io/single_file.hpp"
#include "io/tensor_file.hpp"
#include "media/metadata.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

bool is_lora(const std::string& path) {
  try {
    return !io::LoraFile::open(path).modules().empty();
  } catch (const Error& error) {
    return error.code() == ErrorCode::unsupported;  // a DoRA and its like: named when it is described
  }
}

/// A folder that holds an adapter and no model.
bool is_lora_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "adapter_model.safetensors", ignored) ||
         fs::exists(folder / "pytorch_lora_weights.safetensors", ignored);
}

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
  if (fs::is_directory(path, problem)) {
    return is_lora_folder(path) ? FileKind::lora : FileKind::checkpoint;
  }
  // What a run keeps beside f%04d.png has a name that looks like frames.
  const bool is_pattern = !fs::exists(path, problem) && cli::is_frame_pattern(path);
  if (is_pattern || !looks_like_tensors(path)) return FileKind::media;
  const auto file = io::open_tensor_file(path);
  if (engine::about_run_state(*file)) return FileKind::unfinished_run;
  if (file->tensors().contains("latents")) return FileKind::latents;
  if (io::single_file_layout(*file)) return FileKind::checkpoint;
  return is_lora(path) ? FileKind::lora : FileKind::weights;
}

std::string read_settings(const std::string& path) {
  const FileKind kind = kind_of(path);
  if (kind == FileKind::latents) {
    const auto file = io::open_tensor_file(path);
    if (const auto found = file->metadata().find("settings"); found != file->metadata().end()) return found->second;
  } else if (kind == FileKind::unfinished_run) {
    return settings_text(read_unfinished_run(path).about["settings"]);
  } else if (kind == FileKind::media) {
    if (auto found = media::read_metadata(path)) return *found;
  }
  throw Error(ErrorCode::bad_input, path + ": wanted settings recorded by t2v, got none",
              "files made with --no-metadata, or edited since, have none");
}

}  // namespace t2v::commands
