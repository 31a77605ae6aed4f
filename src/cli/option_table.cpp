// SPDX-License-Identifier: Apache-2.0
#include "cli/option_table.hpp"

#include <algorithm>
#include <array>

#include "cli/bindings.hpp"
#include "t2v/error.hpp"

namespace t2v::cli {

namespace {

constexpr uint32_t kGenerate = bit(Command::generate);
constexpr uint32_t kBatch = bit(Command::batch);
constexpr uint32_t kDecode = bit(Command::decode);
constexpr uint32_t kInfo = bit(Command::info);
constexpr uint32_t kCompare = bit(Command::compare);
constexpr uint32_t kBench = bit(Command::bench);
constexpr uint32_t kDoctor = bit(Command::doctor);
constexpr uint32_t kModels = bit(Command::models);
constexpr uint32_t kMake = kGenerate | kBatch;            ///< what asks for a new video
constexpr uint32_t kWrite = kMake | kDecode;              ///< what writes frames
constexpr uint32_t kCompute = kWrite | kBench | kDoctor;  ///< what loads weights
constexpr uint32_t kAll = kCompute | kInfo | kCompare | kModels;
constexpr uint32_t kReport = kGenerate | kInfo | kCompare | kBench | kDoctor | kModels;

constexpr double kMaxSide = 16384;
constexpr double kMaxCount = 1e6;
constexpr double kMaxInteger = 9223372036854775807.0;

#define T2V_FIELD(part, field) set_field<&Invocation::part, &decltype(Invocation::part)::field>
#define T2V_SETTING(part, field) \
  T2V_FIELD(part, field), get_field<&Invocation::part, &decltype(Invocation::part)::field>
#define T2V_PLAIN(part, field) T2V_FIELD(part, field), nullptr

constexpr std::string_view kCameraWords =
    "pan-left pan-right tilt-up tilt-down zoom-in zoom-out roll-cw roll-ccw roll-right "
    "roll-left";

// clang-format off
const std::array kOptions = std::to_array<Option>({
    // Prompt
    {"prompt", "-p", "TEXT", "what to show; '-' reads standard input",
     Group::prompt, kMake | kBench, set_field<&Invocation::request, &Request::prompt>, get_prompt},
    {"prompt-file", "", "FILE", "read one prompt from a file",
     Group::prompt, kMake, T2V_PLAIN(run, prompt_file)},
    {"negative-prompt", "-n", "TEXT", "what to keep away from (default: the family's, usually empty)",
     Group::prompt, kMake, T2V_SETTING(request, negative_prompt)},
    {"prompt-at", "", "FRAME:TEXT", "what to show from a frame on, fading over from the text before; frames count from 0; repeatable",
     Group::prompt, kMake, add_prompt_at, get_prompt_at, 0, kMaxCount, {}, true},
    {"prompt-syntax", "", "auto|plain|weighted", "(word:1.3) (word) [word] and BREAK as weights: auto (default) where a (word:NUMBER) is there; plain: never, and long prompts are cut",
     Group::prompt, kMake, T2V_SETTING(request, prompt_syntax), 0, 0, "auto plain weighted"},

    // Model
    {"model", "-m", "PATH_OR_NAME", "checkpoint folder or file, or a name that `t2v models` lists (default: the embedded model)",
     Group::model, kCompute, T2V_PLAIN(load, model)},
    {"vae", "--taesd", "PATH", "replace the autoencoder; TAESD (AutoencoderTiny) decodes many times as fast, less exactly", Group::model, kCompute, T2V_SETTING(load, vae)},
    {"text-encoder", "", "PATH", "replace the text encoder", Group::model, kCompute, T2V_SETTING(load, text_encoder)},
    {"unet", "", "PATH", "replace the denoising network", Group::model, kCompute, T2V_SETTING(load, unet)},
    {"motion-module", "--motion-adapter", "PATH", "AnimateDiff motion adapter, folder or single file",
     Group::model, kCompute, T2V_SETTING(load, motion_module)},
    {"lora", "", "PATH[:WEIGHT]", "add a LoRA or MotionLoRA, weight 1 if not given; repeatable",
     Group::model, kCompute, add_lora, get_loras, -100, 100, {}, true},

    // Video
    {"width", "-W", "N", "pixels (default: the checkpoint's)", Group::video, kMake | kBench, T2V_SETTING(request, width), 1, kMaxSide},
    {"height", "-H", "N", "pixels (default: the checkpoint's)", Group::video, kMake | kBench, T2V_SETTING(request, height), 1, kMaxSide},
    {"size", "", "WxH", "width and height in one", Group::video, kMake | kBench, set_size, nullptr, 1, kMaxSide},
    {"frames", "--num-frames --video-frames", "N", "length in frames (default: the checkpoint's)",
     Group::video, kMake | kBench, T2V_SETTING(request, frames), 1, kMaxCount},
    {"seconds", "", "X", "length in seconds, instead of --frames: round(X * fps) to what the family allows",
     Group::video, kMake, T2V_SETTING(request, seconds), 0.001, 86400},
    {"context", "", "N", "frames the model sees at once; longer clips are made in overlapping windows; 0: all frames at once (default: as the model was trained)",
     Group::video, kMake | kBench, T2V_SETTING(request, context), 0, kMaxCount},
    {"context-overlap", "", "N", "frames that neighbouring windows share (default: a quarter of a window)",
     Group::video, kMake | kBench, T2V_SETTING(request, context_overlap), 0, kMaxCount},
    {"context-stride", "", "N", "1: windows of neighbouring frames; 2, 3, ...: also of every 2nd, 4th, ... frame (default 1)",
     Group::video, kMake | kBench, T2V_SETTING(request, context_stride), 1, 16},
    {"context-blend", "", "NAME", "how overlapping windows are averaged: pyramid or flat (default pyramid)",
     Group::video, kMake | kBench, T2V_SETTING(request, context_blend), 0, 0, "pyramid flat"},
    {"noise", "", "NAME", "what a clip of several windows begins from: random, freenoise (the first window's noise again, shuffled: the clip keeps its look) or repeat (default random)",
     Group::video, kMake, T2V_SETTING(request, noise), 0, 0, "random freenoise repeat"},
    {"loop", "", "", "the last frame leads into the first", Group::video, kMake, T2V_SETTING(request, loop)},
    {"fps", "", "X", "frame rate of the file, like 8, 23.976 or 24000/1001 (default: the checkpoint's)",
     Group::video, kWrite, T2V_SETTING(request, fps), 0.01, 240},
    {"cond-fps", "", "N", "frame rate told to models that are conditioned on one",
     Group::video, kMake, T2V_SETTING(request, cond_fps), 1, 1000},

    // Sampling
    {"steps", "--num-inference-steps --sample-steps", "N", "denoising steps (default: the family's)",
     Group::sampling, kMake | kBench, T2V_SETTING(request, steps), 1, 10000},
    {"cfg-scale", "--guidance-scale --cfg", "X", "how strictly to follow the prompt; 1 or less: no classifier-free guidance (default: the family's)",
     Group::sampling, kMake | kBench, T2V_SETTING(request, cfg_scale), 0, 1000},
    {"cfg-min", "", "X", "guidance of the first frame, rising to --cfg-scale (SVD)",
     Group::sampling, kMake, T2V_SETTING(request, cfg_min), 0, 1000},
    {"cfg-from", "", "X", "0 to 1: no guidance before this part of the steps (default 0)",
     Group::sampling, kMake | kBench, T2V_SETTING(request, cfg_from), 0, 1},
    {"cfg-until", "", "X", "0 to 1: no guidance from this part of the steps on (default 1)",
     Group::sampling, kMake | kBench, T2V_SETTING(request, cfg_until), 0, 1},
    {"deepcache", "", "N", "run the deep layers of a UNet only in every Nth step; not with --context (default 1)",
     Group::sampling, kMake | kBench, T2V_SETTING(request, deepcache), 1, 1000},
    {"fast", "", "", "trade some exactness for time: --cfg-until 0.6, and --deepcache 2 from 8 steps or 3 from 20; on CUDA from 20 steps also the convolutions that cuDNN finds fastest that day, so that a seed's bits may differ; `t2v bench --fast` shows the cost",
     Group::sampling, kMake | kBench, T2V_SETTING(request, fast)},
    {"guidance-rescale", "", "X", "0 to 1: tame over-exposure of strong guidance (default 0)",
     Group::sampling, kMake, T2V_SETTING(request, guidance_rescale), 0, 1},
    {"sampler", "--sampling-method --scheduler", "NAME", "see --list-samplers (default: the checkpoint's)",
     Group::sampling, kMake | kBench, set_sampler, get_field<&Invocation::request, &Request::sampler>},
    {"sigmas", "", "NAME", "noise levels: karras, exponential, beta, sgm_uniform or simple (default: the checkpoint's)",
     Group::sampling, kMake, T2V_SETTING(request, sigmas), 0, 0, "karras exponential beta sgm_uniform simple"},
    {"spacing", "", "NAME", "timesteps: leading, linspace or trailing (default: the checkpoint's)",
     Group::sampling, kMake, T2V_SETTING(request, spacing), 0, 0, "leading linspace trailing"},
    {"eta", "", "X", "0 to 1: noise of DDIM-like samplers (default 0)", Group::sampling, kMake, T2V_SETTING(request, eta), 0, 1},
    {"freeinit", "", "N", "sample N times, each time from the last clip's low frequencies: frames agree better (default 1)",
     Group::sampling, kMake, T2V_SETTING(request, freeinit), 1, 100},
    {"freeinit-filter", "", "NAME", "butterworth, gaussian or ideal (default butterworth)",
     Group::sampling, kMake, T2V_SETTING(request, freeinit_filter), 0, 0, "butterworth gaussian ideal"},
    {"freeinit-order", "", "X", "steepness of the Butterworth filter (default 4)", Group::sampling, kMake, T2V_SETTING(request, freeinit_order), 0.1, 100},
    {"freeinit-space", "", "X", "0 to 1: which frequencies within a frame are kept (default 0.25)",
     Group::sampling, kMake, T2V_SETTING(request, freeinit_space), 0, 1},
    {"freeinit-time", "", "X", "0 to 1: which frequencies from frame to frame are kept (default 0.25)",
     Group::sampling, kMake, T2V_SETTING(request, freeinit_time), 0, 1},
    {"freeinit-fast", "", "", "fewer steps in the first samplings", Group::sampling, kMake, T2V_SETTING(request, freeinit_fast)},
    {"seed", "-s", "N", "whole number; absent or -1: random, and always printed and stored",
     Group::sampling, kMake | kBench, T2V_SETTING(request, seed), -1, kMaxInteger},
    {"rng", "", "cpu|cuda", "whose random numbers: torch.Generator on that device (default cpu)",
     Group::sampling, kMake, T2V_SETTING(request, rng), 0, 0, "cpu cuda"},
    {"init-latents", "", "FILE", "safetensors with tensor `latents`: the initial noise, unit variance",
     Group::sampling, kMake, T2V_SETTING(request, init_latents)},
    {"clip-skip", "", "N", "text encoder layers to leave out; 1: the last but one (default: the checkpoint's)",
     Group::sampling, kMake, T2V_SETTING(request, clip_skip), 0, 100},

    // Conditioning
    {"image", "-i --init-img", "FILE", "conditioning image", Group::conditioning, kMake | kBench, T2V_SETTING(request, image)},
    {"first-frame-model", "", "PATH_OR_NAME", "image model that makes --image from the prompt, for models without text (SVD); takes --lora",
     Group::conditioning, kMake, T2V_FIELD(first_frame, model), get_first_frame_model},
    {"keep-first-frame", "", "FILE.png", "keep that image", Group::conditioning, kGenerate, T2V_PLAIN(first_frame, keep)},
    {"first-frame-size", "", "WxH", "its size (default: the shape of the video, as many pixels as its model's own size)",
     Group::conditioning, kMake, set_first_frame_size, get_first_frame_size, 1, kMaxSide},
    {"first-frame-steps", "", "N", "its denoising steps (default: its model's)",
     Group::conditioning, kMake, T2V_SETTING(first_frame, steps), 1, 10000},
    {"first-frame-cfg-scale", "", "X", "its guidance (default: its model's)",
     Group::conditioning, kMake, T2V_SETTING(first_frame, cfg_scale), 0, 1000},
    {"first-frame-sampler", "", "NAME", "its sampler (default: its model's)",
     Group::conditioning, kMake, set_first_frame_sampler, get_field<&Invocation::first_frame, &FirstFrameOptions::sampler>},
    {"end-image", "", "FILE", "last image, where the family takes one", Group::conditioning, kMake, T2V_SETTING(request, end_image)},
    {"video", "", "FILE", "input video: one file (mp4, mov, mkv, webm, avi, gif, y4m, ...), or a frame pattern like f%04d.png",
     Group::conditioning, kMake, T2V_SETTING(request, video)},
    {"strength", "", "X", "0 to 1: how much of --video or --image is re-made (default: the family's)",
     Group::conditioning, kMake, T2V_SETTING(request, strength), 0, 1},
    {"camera", "", "MOVE[:STRENGTH]", "move of the camera: pan-left (the content moves right), pan-right, tilt-up, tilt-down, zoom-in, zoom-out, roll-cw or roll-right, roll-ccw or roll-left; strength 0 to 4, 1 if not given: a quarter of the frame, or 20 degrees; repeatable, moves add up. A MotionLoRA in --lora whose name says the move makes it",
     Group::conditioning, kMake, add_camera, get_camera, 0, 4, kCameraWords, true},
    {"motion-bucket", "", "N", "amount of motion (SVD)", Group::conditioning, kMake, T2V_SETTING(request, motion_bucket), 0, 100000},
    {"noise-aug", "", "X", "noise added to the conditioning image (SVD)", Group::conditioning, kMake, T2V_SETTING(request, noise_aug), 0, 100},

    // Decoding
    {"decode-chunk", "", "N", "frames decoded at once (default: what is fastest and fits)",
     Group::decoding, kWrite | kBench, T2V_SETTING(request, decode_chunk), 1, kMaxCount},
    {"vae-tiling", "", "", "decode in tiles: less memory, not exact", Group::decoding, kWrite | kBench, T2V_SETTING(request, vae_tiling)},

    // Output
    {"output", "-o", "FILE", "format by extension: .mp4 .mov .mkv .webm .gif .webp .y4m .png (f%04d.png: one file a frame); '-': y4m on standard output",
     Group::output, kWrite, T2V_PLAIN(output, path)},
    {"format", "", "NAME", "format when the extension does not say it",
     Group::output, kWrite, T2V_PLAIN(output, format), 0, 0, "mp4 mov mkv webm gif webp y4m png hash null"},
    {"codec", "", "NAME", "encoder (default: libx264)", Group::output, kWrite, T2V_SETTING(output, codec)},
    {"crf", "", "N", "quality of the encoder, 0 is best (default 18)", Group::output, kWrite, set_crf, get_crf, 0, 63},
    {"pix-fmt", "", "NAME", "pixel format (default yuv420p)", Group::output, kWrite, T2V_SETTING(output, pix_fmt)},
    {"preset", "", "NAME", "effort of the encoder (default medium)", Group::output, kWrite, T2V_SETTING(output, preset)},
    {"overwrite", "-y", "", "replace an existing output, atomically", Group::output, kWrite, T2V_PLAIN(output, overwrite)},
    {"skip-existing", "", "", "succeed at once when the output exists", Group::output, kWrite, T2V_PLAIN(output, skip_existing)},
    {"save-latents", "", "FILE", "also write the denoised latents, for `t2v decode`",
     Group::output, kMake, T2V_PLAIN(output, save_latents)},
    {"keep-latents", "", "", "keep the denoised latents beside the output, as OUTPUT.latents.safetensors",
     Group::output, kMake, T2V_PLAIN(output, keep_latents)},
    {"no-metadata", "", "", "write no settings into the file", Group::output, kWrite, T2V_PLAIN(output, no_metadata)},

    // Machine
    {"device", "", "auto|cpu|cuda[:N]", "where to compute (default auto: cuda where it works)",
     Group::machine, kCompute, set_device, nullptr, 0, 0, "auto cpu cuda"},
    {"dtype", "", "auto|fp32|fp16|bf16", "precision of the networks (default auto: fp32 on a CPU)",
     Group::machine, kCompute, T2V_PLAIN(load, dtype), 0, 0, "auto fp32 fp16 bf16"},
    {"threads", "-t", "N", "CPU threads (default: the cores this process may use)",
     Group::machine, kCompute, T2V_PLAIN(load, threads), 0, 1024},

    // Run
    {"dry-run", "", "", "check everything, print the plan, load no weights, write nothing",
     Group::run, kGenerate | kBatch, T2V_PLAIN(run, dry_run)},
    {"from", "", "FILE", "take every setting from a video, PNG or latents file made by t2v; flags beside it win",
     Group::run, kGenerate, T2V_PLAIN(run, from)},
    {"checkpoint-every", "", "N", "keep the run's state every N steps, as OUTPUT.state.safetensors, until it is done",
     Group::run, kMake, T2V_PLAIN(run, checkpoint_every), 1, kMaxCount},
    {"resume", "", "FILE", "continue an unfinished run from its state, to the same result; all its flags are remembered",
     Group::run, kGenerate, T2V_PLAIN(run, resume_from)},
    {"resume", "", "", "skip the jobs that the journal beside JOBS calls done; several processes started so share the jobs", Group::run, kBatch, T2V_PLAIN(run, resume)},
    {"config", "", "FILE", "TOML or INI file with these long names; flags win", Group::run, kAll, T2V_PLAIN(run, config)},
    {"progress", "", "auto|bar|json|none", "how to show progress on standard error (default auto: a bar on a terminal)",
     Group::run, kCompute, T2V_PLAIN(run, progress), 0, 0, "auto bar json none"},
    {"log-format", "", "text|json", "form of messages on standard error (default text; json with --progress json)",
     Group::run, kAll, T2V_PLAIN(run, log_format), 0, 0, "text json"},
    {"verbose", "-v", "", "say more; twice: every step", Group::run, kAll, more_verbose, nullptr},
    {"quiet", "-q", "", "errors only", Group::run, kAll, be_quiet, nullptr},
    {"json", "", "", "print data as JSON (with --dry-run: the plan)", Group::run, kReport, T2V_PLAIN(run, json)},
    {"profile", "", "", "bench: where the time of a step and a frame goes, by kind of operation", Group::run, kBench, T2V_PLAIN(run, profile)},
    {"min-psnr", "", "X", "exit 1 when a frame is below this many dB", Group::run, kCompare, T2V_PLAIN(run, min_psnr), 0, 1000},

    // Information
    {"list-samplers", "", "", "the samplers", Group::information, kAll, T2V_PLAIN(show, samplers)},
    {"list-devices", "", "", "the devices of this machine", Group::information, kAll, T2V_PLAIN(show, devices)},
    {"print-completion", "", "SHELL", "completion script for bash, zsh or fish",
     Group::information, kGenerate, T2V_PLAIN(show, completion), 0, 0, "bash zsh fish"},
    {"print-man", "", "", "manual page (roff)", Group::information, kGenerate, T2V_PLAIN(show, man)},
    {"print-flag-table", "", "", "these options as a Markdown table", Group::information, kGenerate, T2V_PLAIN(show, flag_table)},
    {"version", "", "", "version of t2v", Group::information, kAll, T2V_PLAIN(show, version)},
    {"help", "-h", "", "this text; `t2v COMMAND --help` for one command", Group::information, kAll, T2V_PLAIN(show, help)},
});
// clang-format on

constexpr std::array kCommands{
    CommandRow{Command::generate, "generate", "", 0, 0, "a video from a prompt (the default command)"},
    CommandRow{Command::batch, "batch", "JOBS", 1, 1,
               "many jobs from one loaded model: .txt (a prompt a line), .jsonl (an object of long "
               "flag names a line), '-'"},
    CommandRow{Command::decode, "decode", "LATENTS", 1, 1, "finish a run from its saved latents"},
    CommandRow{Command::info, "info", "PATH", 1, 1, "what is in a checkpoint, a latents file or a video made by t2v"},
    CommandRow{Command::compare, "compare", "A B", 2, 2,
               "PSNR, SSIM and largest difference of two videos, frame patterns or latents files"},
    CommandRow{Command::bench, "bench", "[PART]", 0, 1, "timings of load, text, unet, vae, encode or all"},
    CommandRow{Command::doctor, "doctor", "", 0, 0, "what this machine can do"},
    CommandRow{Command::models, "models", "", 0, 0, "the models found"},
};

/// "--Negative_Prompt" -> "negative-prompt"; a short name keeps its case.
std::string bare_name(std::string_view name) {
  while (name.starts_with('-')) name.remove_prefix(1);
  std::string out(name);
  std::ranges::replace(out, '_', '-');
  return out;
}

bool is_called(const Option& option, const std::string& name) {
  if (option.name == name) return true;
  const auto aliases = split_words(option.aliases);
  return std::ranges::any_of(aliases, [&](const std::string& alias) { return bare_name(alias) == name; });
}

}  // namespace

std::string_view group_title(Group group) {
  switch (group) {
    case Group::prompt: return "Prompt";
    case Group::model: return "Model";
    case Group::video: return "Size and length";
    case Group::sampling: return "Sampling";
    case Group::conditioning: return "Image and video input";
    case Group::decoding: return "Decoding";
    case Group::output: return "Output";
    case Group::machine: return "Machine";
    case Group::run: return "Run";
    case Group::information: return "Information";
  }
  return "";
}

std::span<const Option> options() { return kOptions; }
std::span<const CommandRow> commands() { return kCommands; }

const CommandRow& command_row(Command command) { return *std::ranges::find(kCommands, command, &CommandRow::command); }

const Option* find_option(std::string_view name) {
  const auto row = std::ranges::find_if(
      kOptions, [wanted = bare_name(name)](const Option& option) { return is_called(option, wanted); });
  return row == kOptions.end() ? nullptr : &*row;
}

const Option* find_option(std::string_view name, Command command) {
  const auto row = std::ranges::find_if(kOptions, [wanted = bare_name(name), command](const Option& option) {
    return (option.commands & bit(command)) && is_called(option, wanted);
  });
  return row == kOptions.end() ? nullptr : &*row;
}

std::vector<std::string> long_names(Command command) {
  std::vector<std::string> names;
  for (const auto& option : kOptions) {
    if (!(option.commands & bit(command))) continue;
    names.push_back("--" + std::string(option.name));
    for (auto& alias : split_words(option.aliases)) {
      if (alias.starts_with("--")) names.push_back(std::move(alias));
    }
  }
  return names;
}

void write_settings(const Invocation& invocation, nlohmann::ordered_json& object) {
  for (const auto& option : kOptions) {
    if (option.get) option.get(invocation, option, object);
  }
}

}  // namespace t2v::cli
