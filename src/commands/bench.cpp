// SPDX-License-Identifier: Apache-2.0
// `t2v bench [PART]`: seconds of load, text, one network call, decoding and encoding, measured in
// real runs.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/streams.hpp"
#include "cli/values.hpp"
#include "commands/bench_frames.hpp"
#include "commands/job.hpp"
#include "commands/settings.hpp"
#include "commands/signals.hpp"
#include "commands/tools.hpp"
#include "core/text.hpp"
#include "engine/device.hpp"
#include "engine/gemm_rate.hpp"

namespace t2v::commands {

namespace {

using io::Json;

/// Seconds of every step of every stage.
class StepTimes final : public Progress {
 public:
  void step(Stage stage, int64_t, int64_t, double seconds) override {
    steps_[static_cast<size_t>(stage)].push_back(seconds);
  }
  void end(Stage stage, double seconds) override {
    totals_[static_cast<size_t>(stage)].push_back(seconds);
  }
  bool cancelled() override { return stop_asked(); }
  std::vector<double> steps(Stage stage) const { return steps_[static_cast<size_t>(stage)]; }
  std::vector<double> totals(Stage stage) const { return totals_[static_cast<size_t>(stage)]; }

 private:
  std::array<std::vector<double>, 5> steps_, totals_;
};

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

/// The same with its arithmetic: GFLOP of one unit, GFLOP/s of the median, and its share of the machine's own product rate.
Json row(const std::string& part, const std::string& unit, const std::vector<double>& seconds, int64_t flops,
         double gemm_rate) {
  Json result = row(part, unit, seconds);
  const double rate = static_cast<double>(flops) / std::max(median(seconds), 1e-9);
  result["gflop"] = static_cast<double>(flops) / 1e9;
  result["gflop_per_second"] = rate / 1e9;
  result["share_of_gemm"] = rate / gemm_rate;
  return result;
}

class NullSink final : public FrameSink {
 public:
  void write(const FrameView&) override {}
  void finish() override {}
};

Json measure_model(const Invocation& invocation, const Tools& tools, const std::string& part) {
  const auto wants = [&](std::string_view name) { return part == "all" || part == name; };
  const auto model = open_checked_model(invocation, tools);
  const Plan plan = model->plan(prepared_request(invocation));
  StepTimes times;
  const auto start = std::chrono::steady_clock::now();
  const auto pipeline = model->load(times);
  const double load =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Json rows = Json::array();
  if (wants("load")) rows.push_back(row("load", "all weights", {load}));
  if (part == "load") return rows;
  const Latents latents = pipeline->denoise(plan, times);
  if (wants("text")) rows.push_back(row("text", "prompt", times.totals(Stage::text)));
  auto calls = times.steps(Stage::denoise);
  if (calls.size() > 1) calls.erase(calls.begin());  // the first one also warms caches
  const double gemm_rate = engine::measured_gemm_rate(engine::resolve_placement(invocation.load, c10::kHalf));
  if (wants("unet")) rows.push_back(row("unet", "step", calls, plan.denoise_flops, gemm_rate));
  if (wants("vae")) {
    NullSink sink;
    pipeline->decode(latents, plan, sink, times);
    auto seconds = times.totals(Stage::decode);
    for (double& value : seconds) value /= static_cast<double>(std::max<int64_t>(plan.frames, 1));
    rows.push_back(row("vae", "frame", seconds, plan.decode_flops, gemm_rate));
  }
  return rows;
}

void print_table(const Json& rows) {
  std::string out = "part    unit           count   median s     best s      GFLOP   GFLOP/s  of GEMM\n";
  for (const auto& item : rows) {
    char line[160];
    int length = std::snprintf(line, sizeof line, "%-7s %-13s %6ld %10.5f %10.5f",
                               item["part"].get<std::string>().c_str(), item["unit"].get<std::string>().c_str(),
                               item["count"].get<long>(), item["median_seconds"].get<double>(),
                               item["best_seconds"].get<double>());
    if (item.contains("gflop")) {
      std::snprintf(line + length, sizeof line - static_cast<size_t>(length), " %10.3f %9.1f  %5.1f %%",
                    item["gflop"].get<double>(), item["gflop_per_second"].get<double>(),
                    100 * item["share_of_gemm"].get<double>());
    }
    out += std::string(line) + "\n";
  }
  cli::print_data(out);
}

}  // namespace

int bench(const Invocation& invocation, const Tools& tools) {
  const std::string part = invocation.operands.empty()
                               ? "all"
                               : cli::parse_choice("bench", invocation.operands.front(),
                                                   "text unet vae encode load all");
  Json rows = part == "encode" ? Json::array() : measure_model(invocation, tools, part);
  if (part == "encode" || part == "all") {
    rows.push_back(row("encode", "frame",
                       encode_seconds(invocation.request.width.value_or(512),
                                      invocation.request.height.value_or(320))));
  }
  if (invocation.run.json) {
    cli::print_data(settings_text({{"rows", rows}, {"peak_rss_bytes", peak_rss_bytes()}}) + "\n");
  } else {
    print_table(rows);
  }
  return 0;
}

}  // namespace t2v::commands
