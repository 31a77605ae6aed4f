// SPDX-License-Identifier: Apache-2.0
// `t2v bench [PART]`: seconds of load, text (the prompts of a run, or its image), one network call, decoding ("vae"),
// frames to latents ("vae in") and the video encoder, measured in real runs.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/streams.hpp"
#include "cli/values.hpp"
#include "commands/bench_encoder.hpp"
#include "commands/bench_frames.hpp"
#include "commands/bench_profile.hpp"
#include "commands/bench_shortcuts.hpp"
#include "commands/job.hpp"
#include "commands/settings.hpp"
#include "commands/tools.hpp"
#include "core/text.hpp"
#include "engine/cuda_plugin.hpp"
#include "engine/cuda_warm_up.hpp"
#include "engine/device.hpp"
#include "engine/gemm_rate.hpp"
#include "models/registry.hpp"

namespace t2v::commands {

namespace {

using io::Json;

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Json row(const std::string& part, const std::string& unit, const std::vector<double>& seconds) {
  return {{"part", part},
          {"unit", unit},
          {"count", seconds.size()},
          {"median_seconds", median(seconds)},
          {"best_seconds", seconds.empty() ? 0.0 : *std::ranges::min_element(seconds)}};
}

/// The same with its arithmetic: GFLOP of one unit, GFLOP/s of the median, and its share of the machine's own product
/// rate.
Json row(const std::string& part, const std::string& unit, const std::vector<double>& seconds, int64_t flops,
         double gemm_rate) {
  Json result = row(part, unit, seconds);
  const double rate = static_cast<double>(flops) / std::max(median(seconds), 1e-9);
  result["gflop"] = static_cast<double>(flops) / 1e9;
  result["gflop_per_second"] = rate / 1e9;
  result["share_of_gemm"] = rate / gemm_rate;
  return result;
}

/// Loading with what it read: the first load after a start reads from the disk, later ones from the system's cache.
Json load_row(double seconds, const ModelInfo& model) {
  int64_t bytes = 0;
  for (const ComponentInfo& part : model.components) bytes += part.file_bytes;
  Json result = row("load", "all weights", {seconds});
  result["gb"] = static_cast<double>(bytes) / 1e9;
  result["gb_per_second"] = static_cast<double>(bytes) / 1e9 / std::max(seconds, 1e-9);
  return result;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Loading, denoising, decoding and encoding of one clip into an MP4 file.
double whole_clip(Pipeline& pipeline, const Plan& plan, double load_seconds) {
  BenchTimes ignored(false);
  const auto start = std::chrono::steady_clock::now();
  write_scratch_clip(plan.width, plan.height, plan.fps,
                     [&](FrameSink& sink) { pipeline.decode(pipeline.denoise(plan, ignored), plan, sink, ignored); });
  return load_seconds + seconds_since(start);
}

class NullSink final : public FrameSink {
 public:
  void write(const FrameView&) override {}
  void finish() override {}
};

/// Processor time of a unit beside the clock's: on a busy machine the figure to trust.
Json with_cpu(Json row, const std::vector<double>& cpu_seconds) {
  row["median_cpu_seconds"] = median(cpu_seconds);
  return row;
}

struct Rows {
  Json rows = Json::array(), profile = Json::array();
};

void measure_encoder(const Invocation& invocation, const Plan& plan, const Placement& placement,
                     const MachineRates& rates, Rows& out) {
  const auto checkpoint = models::open_checkpoint(invocation.load);
  const auto encoding = encode_times(checkpoint.component("vae"), plan, placement, invocation.run.profile);
  if (!encoding) return;
  const StageTimes& times = encoding->times;
  out.rows.push_back(with_cpu(row("vae in", "frame", times.steps, encoding->flops, rates.flops), times.steps_cpu));
  if (!invocation.run.profile) return;
  for (const Json& line : profile_rows("vae in", times, 1, rates)) out.profile.push_back(line);
}

/// What TAESD in the place of the model's own autoencoder costs and saves.
void measure_tiny_autoencoder(const Invocation& invocation, const Tools& tools, const Request& request,
                              const Decoding& quick, const Latents& latents, Rows& out) {
  LoadOptions own = invocation.load;
  own.vae.clear();
  if (!models::open_checkpoint(own).has("vae")) return;
  const auto model = tools.open_model(own);
  BenchTimes ignored(false);
  const auto pipeline = model->load(ignored, Parts::decoder);
  const Plan plan = model->plan(request);
  out.rows.push_back(tiny_autoencoder_row({*pipeline, plan}, quick, latents));
}

bool begins_with_image(const ModelInfo& model) {
  return std::ranges::find(model.accepts, "image") != model.accepts.end();
}

/// A picture for a model that sets one in motion, of the video's size, where the request names none. It goes with the
/// pointer.
std::shared_ptr<const std::filesystem::path> add_picture(Request& request, const ModelInfo& model) {
  if (!begins_with_image(model) || !request.image.empty()) return nullptr;
  auto picture = scratch_picture(request.width.value_or(model.width), request.height.value_or(model.height));
  request.image = *picture;
  return picture;
}

Rows measure_model(const Invocation& invocation, const Tools& tools, const std::string& part) {
  const auto wants = [&](std::string_view name) { return part == "all" || part == name; };
  const auto model = open_checked_model(invocation, tools);
  Request request = prepared_request(invocation);
  const auto picture = add_picture(request, model->info());
  const Plan plan = model->plan(request);
  BenchTimes times(invocation.run.profile);
  LoadOptions as_planned = invocation.load;
  as_planned.device = plan.device;
  as_planned.dtype = plan.dtype;
  const Placement placement = engine::resolve_placement(as_planned, c10::kHalf);
  engine::finish_cuda_warm_up();  // beside what is timed it would be timed too
  const bool on_cuda = placement.device.is_cuda();
  if (on_cuda && invocation.run.profile) {
    wait_for_operations = [index = placement.device.index()] { engine::cuda_synchronize(index); };
  }
  const auto start = std::chrono::steady_clock::now();
  const auto pipeline = model->load(times);
  const double load = seconds_since(start);
  Rows out;
  if (wants("load")) out.rows.push_back(load_row(load, model->info()));
  if (part == "load") return out;
  const Latents latents = pipeline->denoise(plan, times);
  const MachineRates rates{engine::measured_gemm_rate(placement),
                           invocation.run.profile ? engine::measured_copy_rate(placement) : 1};
  const auto add_profile = [&](const std::string& name, Stage stage, int64_t units) {
    if (!invocation.run.profile) return;
    for (const Json& line : profile_rows(name, times.of(stage), units, rates)) out.profile.push_back(line);
  };
  if (wants("text")) {
    const StageTimes& text = times.of(Stage::text);
    const std::string unit = begins_with_image(model->info()) ? "image" : "prompt";
    out.rows.push_back(with_cpu(row("text", unit, text.totals, text.flops, rates.flops), text.totals_cpu));
    add_profile("text", Stage::text, 1);
  }
  if (wants("unet")) {
    std::vector<double> calls = times.of(Stage::denoise).steps, cpu = times.of(Stage::denoise).steps_cpu;
    add_profile("unet", Stage::denoise, static_cast<int64_t>(calls.size()));
    const ptrdiff_t warming = on_cuda ? 2 : 1;  // the first fills caches, the second proves a recorded step
    if (std::ssize(calls) > warming) {
      calls.erase(calls.begin(), calls.begin() + warming);
      cpu.erase(cpu.begin(), cpu.begin() + warming);
    }
    out.rows.push_back(with_cpu(row("unet", "step", calls, plan.denoise_flops, rates.flops), cpu));
  }
  if (wants("vae")) {
    constexpr int kPasses = 3;  // the first also warms caches
    std::vector<double> seconds, cpu;
    const auto frames = std::max<int64_t>(plan.frames, 1);
    for (int pass = 0; pass < kPasses; ++pass) {
      NullSink sink;
      const double cpu_before = process_cpu_seconds();
      pipeline->decode(latents, plan, sink, times);
      if (pass == 0) continue;
      seconds.push_back(times.of(Stage::decode).totals.back() / static_cast<double>(frames));
      cpu.push_back((process_cpu_seconds() - cpu_before) / static_cast<double>(frames));
    }
    out.rows.push_back(with_cpu(row("vae", "frame", seconds, plan.decode_flops, rates.flops), cpu));
    add_profile("vae", Stage::decode, frames);
    measure_encoder(invocation, plan, placement, rates, out);
    if (has_tiny_autoencoder(model->info()) && !invocation.load.vae.empty()) {
      measure_tiny_autoencoder(invocation, tools, request, {*pipeline, plan}, latents, out);
    }
  }
  if (takes_shortcuts(plan.request) && wants("unet")) {
    out.rows.push_back(shortcut_row(*model, *pipeline, request));
  }
  if (part == "all") out.rows.push_back(row("whole", "clip", {whole_clip(*pipeline, plan, load)}));
  return out;
}

/// The line below a row of shortcut_row().
std::string shortcut_text(const Json& item) {
  char text[120];
  std::snprintf(text, sizeof text, "        %.2f times as fast as the exact run (%.5f s); frames ",
                item["ratio"].get<double>(), item["exact_seconds"].get<double>());
  if (item["psnr_db"].is_null()) return std::string(text) + "are equal\n";
  return std::string(text) + "differ by " + cli::number_text(std::round(10 * item["psnr_db"].get<double>()) / 10) +
         " dB PSNR\n";
}

void print_table(const Json& rows) {
  std::string out = "part    unit           count   median s     best s      GFLOP   GFLOP/s  of GEMM     cpu s\n";
  for (const auto& item : rows) {
    char line[160];
    const int length =
        std::snprintf(line, sizeof line, "%-7s %-13s %6ld %10.5f %10.5f", item["part"].get<std::string>().c_str(),
                      item["unit"].get<std::string>().c_str(), item["count"].get<long>(),
                      item["median_seconds"].get<double>(), item["best_seconds"].get<double>());
    if (item.contains("gflop")) {
      std::snprintf(line + length, sizeof line - static_cast<size_t>(length), " %10.3f %9.1f  %5.1f %% %9.5f",
                    item["gflop"].get<double>(), item["gflop_per_second"].get<double>(),
                    100 * item["share_of_gemm"].get<double>(), item["median_cpu_seconds"].get<double>());
    }
    if (item.contains("gb")) {
      std::snprintf(line + length, sizeof line - static_cast<size_t>(length), " %10.3f GB %7.2f GB/s",
                    item["gb"].get<double>(), item["gb_per_second"].get<double>());
    }
    out += std::string(line) + "\n";
    if (item.contains("exact_seconds")) out += shortcut_text(item);
  }
  cli::print_data(out);
}

}  // namespace

int bench(const Invocation& invocation, const Tools& tools) {
  const std::string part = invocation.operands.empty() ? "all"
                                                       : cli::parse_choice("bench", invocation.operands.front(),
                                                                           "text unet vae encode load all");
  Rows measured = part == "encode" ? Rows() : measure_model(invocation, tools, part);
  if (part == "encode" || part == "all") {
    const int64_t width = invocation.request.width.value_or(512), height = invocation.request.height.value_or(320);
    measured.rows.push_back(row("convert", "frame", convert_seconds(width, height)));
    measured.rows.push_back(row("encode", "frame", encode_seconds(width, height)));
  }
  if (invocation.run.json) {
    Json document{{"rows", measured.rows}, {"peak_rss_bytes", peak_rss_bytes()}};
    if (invocation.run.profile) document["profile"] = measured.profile;
    cli::print_data(settings_text(document) + "\n");
    return 0;
  }
  print_table(measured.rows);
  if (invocation.run.profile) cli::print_data(profile_table(measured.profile));
  return 0;
}

}  // namespace t2v::commands
