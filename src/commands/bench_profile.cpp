// SPDX-License-Identifier: Apache-2.0
#include "commands/bench_profile.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "commands/signals.hpp"
#include "tensor/flops.hpp"

namespace t2v::commands {

using io::Json;

double process_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void BenchTimes::begin(Stage, int64_t) {
  if (profiles_) profile_.emplace();
  begin_flops_ = counted_flops;
  begin_cpu_ = last_cpu_ = process_cpu_seconds();
}

void BenchTimes::step(Stage stage, int64_t, int64_t, double seconds) {
  StageTimes& times = stages_[static_cast<size_t>(stage)];
  const double now = process_cpu_seconds();
  times.steps.push_back(seconds);
  times.steps_cpu.push_back(now - last_cpu_);
  last_cpu_ = now;
}

void BenchTimes::end(Stage stage, double seconds) {
  StageTimes& times = stages_[static_cast<size_t>(stage)];
  times.totals.push_back(seconds);
  times.totals_cpu.push_back(process_cpu_seconds() - begin_cpu_);
  times.flops = counted_flops - begin_flops_;
  if (!profile_) return;
  times.operations = profile_->totals();
  times.profiled_seconds = seconds;
  times.profiled_cpu_seconds = times.totals_cpu.back();
  profile_.reset();
}

bool BenchTimes::cancelled() { return stop_asked(); }

Json profile_rows(const std::string& part, const StageTimes& times, int64_t units, const MachineRates& rates) {
  const auto each = static_cast<double>(std::max<int64_t>(units, 1));
  std::vector<std::pair<std::string, OpTotals>> sorted(times.operations.begin(), times.operations.end());
  OpTotals other{.calls = 0, .seconds = times.profiled_seconds, .cpu_seconds = times.profiled_cpu_seconds};
  for (const auto& [name, totals] : sorted) {
    other.seconds -= totals.seconds;
    other.cpu_seconds -= totals.cpu_seconds;
  }
  sorted.emplace_back("other", other);
  std::ranges::sort(sorted, std::greater<>(), [](const auto& row) { return row.second.seconds; });
  Json rows = Json::array();
  for (const auto& [name, totals] : sorted) {
    const double seconds = std::max(totals.seconds, 1e-12);
    rows.push_back({{"part", part},
                    {"operation", name},
                    {"calls", static_cast<double>(totals.calls) / each},
                    {"seconds", totals.seconds / each},
                    {"cpu_seconds", totals.cpu_seconds / each},
                    {"share_of_time", totals.seconds / std::max(times.profiled_seconds, 1e-12)},
                    {"gflop", static_cast<double>(totals.flops) / 1e9 / each},
                    {"gb", static_cast<double>(totals.bytes) / 1e9 / each},
                    {"share_of_gemm", static_cast<double>(totals.flops) / seconds / rates.flops},
                    {"share_of_copy", static_cast<double>(totals.bytes) / seconds / rates.bytes}});
  }
  return rows;
}

std::string profile_table(const Json& rows) {
  std::string out =
      "\npart   operation             calls        ms    cpu ms  of time   GFLOP       GB  of GEMM  of copy\n";
  for (const auto& row : rows) {
    char line[200];
    std::snprintf(line, sizeof line, "%-6s %-20s %6.1f %9.3f %9.3f  %5.1f %%  %6.3f %8.4f  %5.1f %%  %5.1f %%\n",
                  row["part"].get<std::string>().c_str(), row["operation"].get<std::string>().c_str(),
                  row["calls"].get<double>(), 1e3 * row["seconds"].get<double>(),
                  1e3 * row["cpu_seconds"].get<double>(), 100 * row["share_of_time"].get<double>(),
                  row["gflop"].get<double>(), row["gb"].get<double>(), 100 * row["share_of_gemm"].get<double>(),
                  100 * row["share_of_copy"].get<double>());
    out += line;
  }
  return out;
}

}  // namespace t2v::commands
