// SPDX-License-Identifier: Apache-2.0
// What the user asked for, after parsing: one plain struct that the program hands to libt2v.so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "t2v/request.hpp"

namespace t2v::cli {

enum class Command { generate, batch, decode, info, compare, bench, doctor, models };

struct OutputOptions {
  std::string path;                    ///< "-" = standard output; empty: not given
  std::string format;                  ///< empty: by extension
  std::string codec, pix_fmt, preset;  ///< empty: the format's default
  int64_t crf = -1;                    ///< -1: the default
  bool overwrite = false;
  bool skip_existing = false;
  bool no_metadata = false;
  std::filesystem::path save_latents;
  bool keep_latents = false;  ///< the file that stands in for save_latents stays after success
};

struct RunOptions {
  std::string progress = "auto";    ///< auto | bar | json | none
  std::string log_format = "text";  ///< text | json
  int64_t verbosity = 0;            ///< -1 quiet, 0 info, 1 debug, 2 trace
  bool dry_run = false;
  bool json = false;                  ///< data on standard output as JSON
  bool profile = false;               ///< bench: where the time goes, by kind of operation
  bool resume = false;                ///< batch: skip the jobs its journal calls done
  std::filesystem::path resume_from;  ///< generate: continue from this state
  int64_t checkpoint_every = 0;       ///< keep the run's state every so many steps; 0: never
  std::filesystem::path from;         ///< take the settings from this file
  std::filesystem::path config;       ///< TOML/INI
  std::filesystem::path prompt_file;  ///< replaced by `prompt` before the run
  double min_psnr = -1;               ///< compare: below this is exit 1; -1: no limit

  /// Messages between JSON events are JSON too: whoever reads them reads one object a line.
  bool json_messages() const { return log_format == "json" || progress == "json"; }
};

/// The image that a video model sets in motion, made from the prompt by another model.
struct FirstFrameOptions {
  std::string model;           ///< empty: there is none
  std::filesystem::path keep;  ///< where the image stays; empty: nowhere
  std::optional<int64_t> width, height, steps;
  std::optional<double> cfg_scale;
  std::string sampler;
};

/// Answers that need no engine.
struct ShowOptions {
  bool help = false, version = false, samplers = false, devices = false, man = false, flag_table = false;
  std::string completion;  ///< bash | zsh | fish
  bool any() const { return help || version || samplers || devices || man || flag_table || !completion.empty(); }
};

/// One option as the user gave it, before its text is understood.
struct Given {
  std::string name;                 ///< long name of the table
  std::vector<std::string> values;  ///< a flag: "true" for each time
  std::string label;                ///< for messages: "--steps", "run.toml: steps", "jobs.jsonl: line 3: steps"
};

/// Options from one source. Kept beside the result, so that a weaker source (--from) or a stronger
/// one (a job line) can be merged in later.
using Layer = std::vector<Given>;

struct Invocation {
  Command command = Command::generate;
  std::vector<std::string> operands;  ///< PATH, A B, JOBS, ...
  Request request;
  LoadOptions load;
  OutputOptions output;
  RunOptions run;
  FirstFrameOptions first_frame;
  ShowOptions show;
  std::string settings_hash;             ///< content hash of the model that --from recorded; empty: none
  std::vector<std::string> lora_hashes;  ///< the same of its LoRAs, in their order
  std::string first_frame_hash;          ///< the same of the model of its first frame
  Layer given;                           ///< configuration file and command line, merged
};

}  // namespace t2v::cli
