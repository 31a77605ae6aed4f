// SPDX-License-Identifier: Apache-2.0
#include "commands/kept_work.hpp"

#include <algorithm>
#include <array>

#include "cli/option_table.hpp"
#include "core/log.hpp"
#include "engine/latents.hpp"
#include "t2v/error.hpp"

namespace t2v::commands {

namespace fs = std::filesystem;

namespace {

/// Options of decode that say how a run talks, or that the command line below spells itself.
constexpr std::array<std::string_view, 7> kLeftOut{"output",  "config", "progress",     "log-format",
                                                   "verbose", "quiet",  "skip-existing"};

std::string shell_word(const std::string& word) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./%:=+,@";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// A file name that no program takes for a flag.
std::string file_word(const std::string& path) { return path.starts_with('-') && path != "-" ? "./" + path : path; }

}  // namespace

fs::path kept_path(const cli::Invocation& invocation, int64_t seed, const std::string& kind) {
  const std::string& output = invocation.output.path;
  return (output == "-" ? "t2v-" + std::to_string(seed) : output) + "." + kind + ".safetensors";
}

std::string shell_command(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) {
    if (!line.empty()) line += ' ';
    line += shell_word(word);
  }
  return line;
}

std::string decode_command(const cli::Invocation& invocation, const fs::path& latents) {
  std::vector<std::string> words{"t2v", "decode", file_word(latents.string()), "-o", file_word(invocation.output.path)};
  for (const auto& given : invocation.given) {
    const cli::Option* option = cli::find_option(given.name, cli::Command::decode);
    if (!option || std::ranges::find(kLeftOut, option->name) != kLeftOut.end()) continue;
    for (const auto& value : given.values) {
      const std::string flag = "--" + given.name;
      if (option->value.empty()) {
        if (value == "true") words.push_back(flag);
      } else if (value.empty() || value.starts_with('-')) {
        words.push_back(flag + "=" + value);
      } else {
        words.insert(words.end(), {flag, value});
      }
    }
  }
  return shell_command(words);
}

std::string resume_command(const fs::path& state) {
  return shell_command({"t2v", "--resume", file_word(state.string())});
}

fs::path save_somewhere(const fs::path& wanted, const std::function<void(const fs::path&)>& save) {
  std::error_code ignored;
  const fs::path name = wanted.filename();
  std::vector<fs::path> places{wanted};
  for (const fs::path& place : {name, fs::temp_directory_path(ignored) / name}) {
    if (fs::absolute(place, ignored) != fs::absolute(wanted, ignored)) places.push_back(place);
  }
  for (size_t i = 0;; ++i) {
    try {
      save(places[i]);
      if (i > 0) log::warn("saved as {} instead", places[i].string());
      return places[i];
    } catch (const Error& error) {
      if (error.code() != ErrorCode::output || i + 1 == places.size()) throw;
      log::warn("{}", error.what());
    }
  }
}

SavedLatents::SavedLatents(const cli::Invocation& invocation, const Latents& latents, int64_t seed, bool is_worth_it) {
  const cli::OutputOptions& output = invocation.output;
  is_asked_ = !output.save_latents.empty() || output.keep_latents;
  if (!is_asked_ && !is_worth_it) return;
  const fs::path wanted = output.save_latents.empty() ? kept_path(invocation, seed, "latents") : output.save_latents;
  try {
    path_ = save_somewhere(wanted, [&](const fs::path& file) { engine::save_latents(file, latents); });
    log::debug("latents: {}", path_.string());
  } catch (const Error& error) {
    log::warn("the latents could not be kept: {}", error.what());  // the video may still come out well
  }
}

void SavedLatents::drop_if_unasked() const {
  std::error_code ignored;
  if (!is_asked_ && !path_.empty()) fs::remove(path_, ignored);
}

}  // namespace t2v::commands
