// SPDX-License-Identifier: Apache-2.0
#include "kernel_table.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>

#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>

#include "tensor/operators.hpp"

namespace t2v::bench {

namespace {

using Clock = std::chrono::steady_clock;
constexpr double kSlowForm = 0.05;  // seconds: a plain form that takes longer runs once

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

double largest_difference(const at::Tensor& ours, const at::Tensor& plain) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (!ours.defined() || ours.sizes() != plain.sizes()) return kInfinite;
  const at::Tensor wide = plain.to(c10::kDouble);
  const double difference = largest(ours.cpu().to(c10::kDouble) - wide);
  if (std::isnan(difference)) return kInfinite;
  return plain.scalar_type() == c10::kByte ? difference : difference / std::max(largest(wide), 1e-30);
}

/// A form with the seconds of each sample: as many runs as the clock needs.
struct Timed {
  const std::function<at::Tensor()>& form;
  bool on_device;  // only queued when it returns
  int64_t times = 1;
  std::vector<double> samples = {};

  double sample() const {
    const auto start = Clock::now();
    at::Tensor last;
    for (int64_t i = 0; i < times; ++i) last = form();
    if (on_device) last.flatten().narrow(0, 0, 1).cpu();  // waits for all that is queued
    return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(times);
  }
  double median() {
    std::ranges::nth_element(samples, samples.begin() + std::ssize(samples) / 2);
    return samples[samples.size() / 2];
  }
};

/// Samples of all forms in turn, so that a machine's slow moments are everybody's, each long enough for a form to find
/// its own data in the caches.
void time_in_turn(std::vector<Timed>& all, const Effort& effort) {
  for (Timed& timed : all) {
    timed.sample();
    timed.times =
        std::clamp<int64_t>(static_cast<int64_t>(effort.sample_seconds / std::max(timed.sample(), 1e-9)), 1, 10000);
  }
  const auto start = Clock::now();
  while (std::ssize(all.front().samples) < effort.samples ||
         std::chrono::duration<double>(Clock::now() - start).count() < effort.seconds) {
    for (Timed& timed : all) timed.samples.push_back(timed.sample());
  }
}

double work_per_second(const Measured& m) { return (m.row.flop > 0 ? m.row.flop : m.row.bytes) / m.seconds / 1e9; }

}  // namespace

Measured compare_and_time(const KernelRow& row, const Effort& effort) {
  Measured m{.row = row};
  const auto start = Clock::now();
  const at::Tensor plain = row.plain();
  m.plain_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  m.difference = largest_difference(row.ours(), plain);
  std::vector<Timed> all{{row.ours, row.on_device}};
  if (row.aten) all.push_back({row.aten, row.on_device});
  const bool is_quick = m.plain_seconds < kSlowForm;
  if (is_quick) all.push_back({row.plain, false});
  time_in_turn(all, effort);
  m.seconds = all.front().median();
  if (row.aten) m.aten_seconds = all[1].median();
  if (is_quick) m.plain_seconds = all.back().median();
  return m;
}

std::string table_head() {
  return "| kernel | shape | largest difference | bound | plain ms | ours ms | times as fast | work | ATen ms |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
}

std::string table_line(const Measured& m) {
  char line[400], aten[32] = "";
  if (m.aten_seconds) std::snprintf(aten, sizeof aten, "%.3f", 1e3 * *m.aten_seconds);
  std::snprintf(line, sizeof line, "| %s | %s | %.2g%s | %.2g | %.2f | %.3f | %.1f | %.1f %s | %s |\n",
                m.row.kernel.c_str(), m.row.shape.c_str(), m.difference, m.within_bound() ? "" : " **beyond**",
                m.row.bound, 1e3 * m.plain_seconds, 1e3 * m.seconds, m.plain_seconds / m.seconds, work_per_second(m),
                m.row.flop > 0 ? "GFLOP/s" : "GB/s", aten);
  return line;
}

io::Json table_json(const std::vector<Measured>& rows) {
  io::Json list = io::Json::array();
  for (const Measured& m : rows) {
    io::Json item{{"kernel", m.row.kernel},
                  {"shape", m.row.shape},
                  {"difference", m.difference},
                  {"bound", m.row.bound},
                  {"within_bound", m.within_bound()},
                  {"plain_seconds", m.plain_seconds},
                  {"seconds", m.seconds},
                  {"times_as_fast", m.plain_seconds / m.seconds}};
    item[m.row.flop > 0 ? "gflop_per_second" : "gb_per_second"] = work_per_second(m);
    if (m.aten_seconds) item["aten_seconds"] = *m.aten_seconds;
    list.push_back(item);
  }
  return {{"kernels", list}, {"within_bounds", std::ranges::all_of(rows, &Measured::within_bound)}};
}

}  // namespace t2v::bench
