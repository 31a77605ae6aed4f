// SPDX-License-Identifier: Apache-2.0
// What a bench run records: seconds of every step of every stage, and with a profile where they go by kind of
// operation.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/config.hpp"
#include "t2v/progress.hpp"
#include "tensor/op_profile.hpp"

namespace t2v::commands {

struct StageTimes {
  std::vector<double> steps, steps_cpu, totals, totals_cpu;
  int64_t flops = 0;  // of the last time; without what a CUDA graph replays
  std::map<std::string, OpTotals> operations;
  double profiled_seconds = 0, profiled_cpu_seconds = 0;
};

/// Processor time of all threads of this process.
double process_cpu_seconds();

class BenchTimes final : public Progress {
 public:
  explicit BenchTimes(bool profiles) : profiles_(profiles) {}
  void begin(Stage stage, int64_t count) override;
  void step(Stage stage, int64_t index, int64_t count, double seconds) override;
  void end(Stage stage, double seconds) override;
  bool cancelled() override;
  const StageTimes& of(Stage stage) const { return stages_[static_cast<size_t>(stage)]; }

 private:
  bool profiles_;
  std::array<StageTimes, 5> stages_;
  std::optional<OpProfile> profile_;
  double begin_cpu_ = 0, last_cpu_ = 0;
  int64_t begin_flops_ = 0;
};

/// Rates that shares are taken of.
struct MachineRates {
  double flops = 0;  // of a matrix product
  double bytes = 0;  // of a copy, read and written
};

/// One row a kind of operation, per unit (a step, a frame), the slowest first; what no layer accounts for is "other".
io::Json profile_rows(const std::string& part, const StageTimes& times, int64_t units, const MachineRates& rates);
std::string profile_table(const io::Json& rows);

}  // namespace t2v::commands
