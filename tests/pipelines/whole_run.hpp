// SPDX-License-Identifier: Apache-2.0
// One golden run through the public API: seed to latents to pixels, compared with what diffusers made.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/image.hpp"
#include "io/tensor_file.hpp"
#include "support/lora_files.hpp"
#include "support/sd_checkpoint.hpp"
#include "support/tiny_checkpoint.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::test {

/// Keeps every frame in memory.
class MemorySink final : public FrameSink {
 public:
  void write(const FrameView& frame) override { rgb.insert(rgb.end(), frame.rgb.begin(), frame.rgb.end()); }
  void finish() override {}
  std::vector<uint8_t> rgb;
};

inline double relative_l2(std::span<const float> got, std::span<const float> want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - want[i], 2);
    norm += std::pow(static_cast<double>(want[i]), 2);
  }
  return std::sqrt(difference / norm);
}

inline Request request_of(const io::Json& run) {
  Request request;
  request.prompt = run["prompt"].get<std::string>();
  request.negative_prompt = run["negative_prompt"].get<std::string>();
  request.steps = run["steps"].get<int64_t>();
  request.cfg_scale = run["cfg_scale"].get<double>();
  request.seed = run["seed"].get<int64_t>();
  request.frames = run["frames"].get<int64_t>();
  request.width = run["width"].get<int64_t>();
  request.height = run["height"].get<int64_t>();
  if (run.contains("sampler")) request.sampler = run["sampler"].get<std::string>();
  if (run.contains("sigmas")) request.sigmas = run["sigmas"].get<std::string>();
  if (run.contains("eta")) request.eta = run["eta"].get<double>();
  if (run.contains("guidance_rescale")) request.guidance_rescale = run["guidance_rescale"].get<double>();
  if (run.contains("strength")) request.strength = run["strength"].get<double>();
  if (run.contains("freeinit")) request.freeinit = run["freeinit"].get<int64_t>();
  if (run.contains("freeinit_filter")) request.freeinit_filter = run["freeinit_filter"].get<std::string>();
  if (run.contains("freeinit_space")) request.freeinit_space = run["freeinit_space"].get<double>();
  if (run.contains("freeinit_time")) request.freeinit_time = run["freeinit_time"].get<double>();
  request.freeinit_fast = run.value("freeinit_fast", false);
  return request;
}

/// The input of the video-to-video case (see input_video in scripts/golden/pipelines.py), as numbered PNG files.
inline fs::path write_input_video(const fs::path& folder, int64_t frames, int64_t height, int64_t width) {
  std::vector<double> values(static_cast<size_t>(frames * height * width * 3));
  for (size_t i = 0; i < values.size(); ++i) values[i] = formula_uniform(fnv1a64("video"), i);
  const auto at = [&](int64_t f, int64_t y, int64_t x, int64_t c) -> double& {
    return values[static_cast<size_t>(((f * height + y) * width + x) * 3 + c)];
  };
  for (int64_t f = 0; f < frames; ++f)
    for (int64_t y = 1; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        for (int64_t c = 0; c < 3; ++c) at(f, y, x, c) += at(f, y - 1, x, c);
  for (int64_t f = 0; f < frames; ++f)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 1; x < width; ++x)
        for (int64_t c = 0; c < 3; ++c) at(f, y, x, c) += at(f, y, x - 1, c);
  const auto [lowest, highest] = std::minmax_element(values.begin(), values.end());
  const double low = *lowest, range = *highest - *lowest;
  fs::create_directories(folder);
  for (int64_t f = 0; f < frames; ++f) {
    io::Image image{width, height, {}};
    for (int64_t i = 0; i < height * width * 3; ++i) {
      const double unit = (values[static_cast<size_t>(f * height * width * 3 + i)] - low) / range;
      image.rgb.push_back(static_cast<uint8_t>(std::nearbyint(unit * 255)));
    }
    char name[16];
    std::snprintf(name, sizeof name, "f%03d.png", static_cast<int>(f));
    io::save_png(folder / name, image);
  }
  return folder / "f%03d.png";
}

struct WholeRunResult {
  double latents_error = 0;         // relative L2
  std::optional<int> frames_error;  // largest difference of a byte, where the golden has frames
};

/// Runs `request` on a model and compares with NAME.latents and, where it is there, NAME.frames of a golden file under
/// tests/golden.
inline WholeRunResult run_and_compare(const LoadOptions& options, const Request& request,
                                      const std::string& golden_file, const std::string& name) {
  const auto model = open_model(options);
  const Plan plan = model->plan(request);
  Progress progress;
  const auto pipeline = model->load(progress);
  const Latents latents = pipeline->denoise(plan, progress);

  const auto want = io::open_tensor_file(fs::path(T2V_TEST_DATA) / "golden" / golden_file);
  const auto& reference = want->tensors().find(name + ".latents")->second;
  if (latents.shape != reference.shape) throw std::runtime_error(name + ": latents of another shape");
  WholeRunResult result;
  result.latents_error =
      relative_l2(latents.data, {reinterpret_cast<const float*>(reference.bytes.data()), latents.data.size()});
  const auto frames = want->tensors().find(name + ".frames");
  if (frames == want->tensors().end()) return result;
  MemorySink sink;
  pipeline->decode(latents, plan, sink, progress);
  if (sink.rgb.size() != frames->second.bytes.size()) throw std::runtime_error(name + ": frames of another size");
  result.frames_error = 0;
  for (size_t i = 0; i < sink.rgb.size(); ++i) {
    const int difference = std::abs(sink.rgb[i] - std::to_integer<int>(frames->second.bytes[i]));
    result.frames_error = std::max(*result.frames_error, difference);
  }
  return result;
}

inline WholeRunResult run_whole(const io::Json& golden, const std::string& name) {
  const TempFolder folder;
  const io::Json run = golden["runs"][name];
  write_tiny_checkpoint(folder.path() / "model", golden, run["scheduler"]);
  Request request = request_of(run);
  if (run.contains("video")) {
    request.video = write_input_video(folder.path() / "frames", *request.frames, *request.height, *request.width);
  }
  return run_and_compare({.model = (folder.path() / "model").string(), .device = "cpu"}, request,
                         "pipelines/pipelines.safetensors", name);
}

/// The naming in which a LoRA of tests/golden/stable_diffusion was given to diffusers.
inline Naming sd_lora_naming(const std::string& label) {
  return sd_golden()["loras"][label]["naming"] == "kohya" ? kohya_naming() : diffusers_naming();
}

/// A run of tests/golden/stable_diffusion on a folder, with a motion adapter's folder beside it where the run has one.
/// Distilled motion modules are told by their names. `naming`: of its LoRAs; by default as diffusers got them.
inline WholeRunResult run_sd(const std::string& name,
                             const std::function<Naming(const std::string&)>& naming = sd_lora_naming) {
  const TempFolder folder;
  const io::Json& run = sd_golden()["runs"][name];
  write_sd_folder(folder.path() / "model", run["model"].get<std::string>(), run["scheduler"]);
  LoadOptions options{.model = (folder.path() / "model").string(), .device = "cpu"};
  if (run.contains("adapter")) {
    options.motion_module = folder.path() / (run.contains("recipe") ? run["recipe"].get<std::string>() : "adapter");
    write_adapter_folder(options.motion_module, run["adapter"].get<std::string>());
  }
  for (const auto& lora : run.value("loras", io::Json::array())) {
    const auto label = lora[0].get<std::string>();
    const fs::path file = folder.path() / (label + ".safetensors");
    write_lora(file, sd_golden()["loras"][label], label, naming(label));
    options.loras.emplace_back(file.string(), lora[1].get<double>());
  }
  return run_and_compare(options, request_of(run), "stable_diffusion/stable_diffusion.safetensors", name);
}

/// A row of the tokenizer corpus: the prompt and the 77 ids the reference gives with this padding token.
struct CorpusRow {
  std::string prompt;
  std::vector<int64_t> ids;
};

inline std::vector<CorpusRow> clip_corpus(bool pads_with_bang) {
  constexpr int64_t kBegin = 49406, kEnd = 49407;
  std::vector<CorpusRow> rows;
  const auto lines = read_lines(kGolden / "clip.jsonl");
  for (size_t i = 1; i < lines.size(); ++i) {  // line 0 says what the columns are
    const io::Json line = io::parse_json(lines[i], "clip.jsonl:" + std::to_string(i + 1));
    std::vector<int64_t> ids{kBegin};
    for (const auto& id : line[pads_with_bang && line.size() > 2 ? 2 : 1]) ids.push_back(id.get<int64_t>());
    ids.push_back(kEnd);
    ids.resize(77, pads_with_bang ? 0 : kEnd);
    rows.push_back({line[0].get<std::string>(), std::move(ids)});
  }
  return rows;
}

}  // namespace t2v::test
