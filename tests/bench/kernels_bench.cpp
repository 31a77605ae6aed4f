// SPDX-License-Identifier: Apache-2.0
// Holds every kernel of ours against its plain form and times both, in one thread, and on a GPU where there is one.
// Exit code 1: a difference is beyond a kernel's bound. How fast anything is decides nothing.
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "emulated/plugin.hpp"
#include "kernel_rows.hpp"
#include "support/cuda_device.hpp"

namespace t2v::bench {
namespace {

constexpr const char* kUsage =
    "usage: kernels_bench [--quick] [--json] [--emulated] [PART OF A KERNEL'S NAME]\n"
    "  --quick     a few runs of each: for the comparison, not for times\n"
    "  --json      the same as JSON\n"
    "  --emulated  CUDA kernels too, emulated thread by thread on the CPU, at small shapes\n";

struct Flags {
  bool quick = false, json = false, emulated = false;
  std::string name;
};

bool read_flags(int count, char** words, Flags& flags) {
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--quick") {
      flags.quick = true;
    } else if (word == "--json") {
      flags.json = true;
    } else if (word == "--emulated") {
      flags.emulated = true;
    } else if (!word.starts_with("-") && flags.name.empty()) {
      flags.name = word;
    } else {
      return false;
    }
  }
  return true;
}

std::vector<KernelRow> all_rows(const Flags& flags) {
  std::vector<KernelRow> rows = cpu_rows();
  const auto add = [&](std::vector<KernelRow> more) { rows.insert(rows.end(), more.begin(), more.end()); };
  if (flags.emulated) add(device_rows(cuda::emulated_plugin(), c10::kCPU, /*is_small=*/true));
  if (const auto device = test::cuda_device()) add(device_rows(engine::cuda_plugin(), *device, /*is_small=*/false));
  std::erase_if(rows, [&](const KernelRow& row) { return row.kernel.find(flags.name) == std::string::npos; });
  return rows;
}

int run(const Flags& flags) {
  const c10::InferenceMode guard;
  at::set_num_threads(1);
  const Effort effort = flags.quick ? Effort{.seconds = 0, .sample_seconds = 0, .samples = 1} : Effort{};
  std::vector<Measured> measured;
  if (!flags.json) std::printf("%s", table_head().c_str());
  for (const KernelRow& row : all_rows(flags)) {
    measured.push_back(compare_and_time(row, effort));
    const Measured& last = measured.back();
    if (!flags.json) std::printf("%s", table_line(last).c_str());
    std::fflush(stdout);
    if (!last.within_bound()) {
      std::fprintf(stderr, "kernels_bench: %s %s: wanted a difference of at most %g, got %g\n", row.kernel.c_str(),
                   row.shape.c_str(), row.bound, last.difference);
    }
  }
  const io::Json document = table_json(measured);
  if (flags.json) std::printf("%s\n", document.dump(1).c_str());
  if (measured.empty()) std::fprintf(stderr, "kernels_bench: no kernel is called '%s'\n", flags.name.c_str());
  return !measured.empty() && document["within_bounds"].get<bool>() ? 0 : 1;
}

}  // namespace
}  // namespace t2v::bench

int main(int argc, char** argv) {
  t2v::bench::Flags flags;
  if (!t2v::bench::read_flags(argc, argv, flags)) {
    std::fputs(t2v::bench::kUsage, stderr);
    return 2;
  }
  try {
    return t2v::bench::run(flags);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernels_bench: %s\n", error.what());
    return 1;
  }
}
