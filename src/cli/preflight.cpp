// SPDX-License-Identifier: Apache-2.0
#include "cli/preflight.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "cli/option_table.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

namespace fs = std::filesystem;

namespace {

/// The extensions of media::sink_rows(); a test holds the two lists equal. ".m4v" is another name
/// of ".mp4".
constexpr std::array<std::string_view, 9> kFormats{"mp4", "m4v", "mov", "mkv", "webm", "gif", "webp", "y4m", "png"};

std::string known_extensions() {
  std::string out;
  for (const auto format : kFormats) out += (out.empty() ? "." : " .") + std::string(format);
  return out;
}

struct Placeholder {
  size_t begin = 0, end = 0, width = 0;
  bool zeros = false;
};

/// The %d of a frame pattern. Refuses what is neither %d, %04d nor %%.
std::optional<Placeholder> placeholder(const std::string& path) {
  std::optional<Placeholder> found;
  for (size_t at = path.find('%'); at != std::string::npos; at = path.find('%', at)) {
    if (at + 1 < path.size() && path[at + 1] == '%') {
      at += 2;
      continue;
    }
    Placeholder item{.begin = at, .end = at + 1};
    item.zeros = path[item.end] == '0';
    while (item.end < path.size() && path[item.end] >= '0' && path[item.end] <= '9') {
      item.width = item.width * 10 + static_cast<size_t>(path[item.end++] - '0');
      if (item.width > 20) break;
    }
    if (found || item.end >= path.size() || path[item.end] != 'd' || item.width > 20) {
      throw Error(ErrorCode::usage, path + ": wanted one frame number like %04d, got something else after '%'",
                  "write %% for a percent sign");
    }
    at = ++item.end;
    found = item;
  }
  return found;
}

void require_file(const std::string& label, const fs::path& path) {
  if (path.empty()) return;
  std::error_code problem;
  if (!fs::exists(path, problem)) {
    throw Error(ErrorCode::bad_input, label + ": " + path.string() + ": wanted an existing file, got none");
  }
  if (access(path.c_str(), R_OK) != 0) {
    throw Error(ErrorCode::bad_input, label + ": " + path.string() + ": wanted a readable file, got no permission");
  }
}

void require_plain_file(const std::string& label, const fs::path& path) {
  require_file(label, path);
  std::error_code problem;
  if (!path.empty() && fs::is_directory(path, problem)) {
    throw Error(ErrorCode::bad_input, label + ": " + path.string() + ": wanted a file, got a folder");
  }
}

void require_video_input(const std::string& label, const std::string& path) {
  if (!path.empty() && is_frame_pattern(path) && !fs::exists(path)) {
    if (fs::exists(frame_path(path, 0)) || fs::exists(frame_path(path, 1))) return;
    throw Error(ErrorCode::bad_input, label + ": " + path + ": wanted frames from " + frame_path(path, 0) + " or " +
                                          frame_path(path, 1) + ", got none");
  }
  require_plain_file(label, path);
}

void check_inputs(const Invocation& invocation) {
  const Request& request = invocation.request;
  const LoadOptions& load = invocation.load;
  require_plain_file("--image", request.image);
  require_plain_file("--end-image", request.end_image);
  require_plain_file("--init-latents", request.init_latents);
  require_plain_file("--from", invocation.run.from);
  require_plain_file("--resume", invocation.run.resume_from);
  require_video_input("--video", request.video.string());
  require_file("--vae", load.vae);
  require_file("--text-encoder", load.text_encoder);
  require_file("--unet", load.unet);
  require_file("--motion-module", load.motion_module);
  for (const auto& [path, weight] : load.loras) {
    // A name alone may be one of $T2V_MODELS (recorded settings name files so); the engine looks there.
    if (std::getenv("T2V_MODELS") && !fs::path(path).has_parent_path()) continue;
    require_file("--lora", path);
  }
  if (invocation.command == Command::decode) require_plain_file("decode", invocation.operands.front());
  if (invocation.command == Command::info) require_file("info", invocation.operands.front());
  if (invocation.command == Command::compare) {
    for (const auto& operand : invocation.operands) require_video_input("compare", operand);
  }
  if (invocation.command == Command::batch && invocation.operands.front() != "-") {
    require_plain_file("batch", invocation.operands.front());
  }
}

/// A place where a file can be made and renamed. True when there is one already.
bool check_place(const std::string& label, const std::string& path, const OutputOptions& output) {
  const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
  std::error_code problem;
  if (!fs::is_directory(folder, problem)) {
    throw Error(ErrorCode::output, label + ": " + path + ": wanted an existing folder, got " + folder.string(),
                "mkdir -p " + folder.string());
  }
  const fs::file_status status = fs::status(path, problem);
  const bool exists = fs::exists(status);
  if (fs::is_directory(status)) {
    throw Error(ErrorCode::output, label + ": " + path + ": wanted a file name, got a folder");
  }
  if (exists && !fs::is_regular_file(status)) {
    throw Error(ErrorCode::output, label + ": " + path + ": wanted a regular file, got a device or pipe",
                "write to standard output with -o - and redirect it");
  }
  if (exists && output.skip_existing) return true;
  if (exists && !output.overwrite) {
    throw Error(ErrorCode::output, label + ": " + path + ": wanted a new file, got an existing one",
                "-y replaces it, --skip-existing leaves it");
  }
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    throw Error(ErrorCode::output,
                label + ": " + path + ": wanted a folder that can be written, got " + folder.string());
  }
  return exists;
}

Verdict check_output(const Invocation& invocation) {
  const OutputOptions& output = invocation.output;
  const std::string latents = output.save_latents.string();
  if (!latents.empty()) {
    if (latents == output.path) {
      throw Error(ErrorCode::usage, "--save-latents: wanted another file than --output, got " + latents);
    }
    check_place("--save-latents", latents, output);
  }
  if (output.path.empty()) {
    if (invocation.run.dry_run) return Verdict::run;
    throw Error(ErrorCode::usage, "--output: wanted a file name, got none", "add -o out.mp4");
  }
  const std::string format = output_format(output);
  if (output.path == "-") {
    if (isatty(STDOUT_FILENO) && !invocation.run.dry_run) {
      throw Error(ErrorCode::usage, "--output: -: wanted a pipe or a file, got a terminal",
                  "for example: t2v ... -o - | ffplay -");
    }
    return Verdict::run;
  }
  const bool numbered = is_frame_pattern(output.path);
  if (numbered && format != "png" && format != "null") {
    throw Error(ErrorCode::usage,
                "--output: " + output.path + ": wanted a frame number in .png files only, got " + format);
  }
  bool exists = false;
  for (const int64_t frame : {0, 1}) {  // a sequence may be counted from either
    exists = check_place("--output", frame_path(output.path, frame), output) || exists;
  }
  return exists && output.skip_existing ? Verdict::skip : Verdict::run;
}

/// What stays of the image that --first-frame-model makes.
void check_first_frame(const Invocation& invocation) {
  const FirstFrameOptions& image = invocation.first_frame;
  if (image.model.empty()) {
    for (const auto& given : invocation.given) {
      if (!given.name.starts_with("first-frame-") && given.name != "keep-first-frame") continue;
      throw Error(ErrorCode::usage, given.label + ": wanted --first-frame-model beside it, got none");
    }
    return;
  }
  if (image.keep.empty()) return;
  const std::string label = "--keep-first-frame", path = image.keep.string();
  if (image.keep.extension() != ".png" || path.find('%') != std::string::npos) {
    throw Error(ErrorCode::usage, label + ": " + path + ": wanted a name like first.png, got another");
  }
  if (path == invocation.output.path) {
    throw Error(ErrorCode::usage, label + ": wanted another file than --output, got " + path);
  }
  OutputOptions image_output = invocation.output;
  image_output.skip_existing = false;  // is about the video
  check_place(label, path, image_output);
}

}  // namespace

std::string output_format(const OutputOptions& output) {
  if (!output.format.empty()) return output.format;
  if (output.path == "-") return "y4m";
  std::string extension = fs::path(output.path).extension().string();
  if (!extension.empty()) extension.erase(0, 1);
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  if (extension == "m4v") return "mp4";
  if (std::ranges::find(kFormats, extension) != kFormats.end()) return extension;
  throw Error(ErrorCode::usage,
              "--output: " + output.path + ": wanted one of " + known_extensions() + ", got " +
                  (extension.empty() ? "no extension" : "." + extension),
              "--format NAME chooses the format whatever the name");
}

bool is_frame_pattern(const std::string& path) { return placeholder(path).has_value(); }

std::string frame_path(const std::string& path, int64_t frame) {
  const auto item = placeholder(path);
  if (!item) return path;
  std::string number = std::to_string(frame);
  if (number.size() < item->width) number.insert(0, item->width - number.size(), item->zeros ? '0' : ' ');
  return path.substr(0, item->begin) + number + path.substr(item->end);
}

Verdict preflight(const Invocation& invocation) {
  check_inputs(invocation);
  if (invocation.command == Command::generate) {
    if (!invocation.run.resume_from.empty()) return Verdict::run;  // its state names the rest
    const bool has_prompt = std::ranges::find(invocation.given, "prompt", &Given::name) != invocation.given.end();
    const bool may_do_without = !invocation.request.image.empty();  // the model family decides
    if (!has_prompt && !may_do_without && invocation.run.from.empty()) {
      throw Error(ErrorCode::usage, "--prompt: wanted a text, got none",
                  "for example: t2v --prompt \"a red circle moving to the right\" -o out.mp4");
    }
    const Verdict verdict = check_output(invocation);
    // Recorded settings may name the image's model.
    if (verdict == Verdict::run && invocation.run.from.empty()) check_first_frame(invocation);
    return verdict;
  }
  if (invocation.command == Command::decode) return check_output(invocation);
  return Verdict::run;
}

}  // namespace t2v::cli
