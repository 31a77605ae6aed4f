// SPDX-License-Identifier: Apache-2.0
#include "cli/devices.hpp"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "core/text.hpp"

namespace t2v::cli {

namespace {

/// The few driver calls needed (CUDA Driver API, cuda.h): all return 0 for success.
class CudaDriver {
 public:
  CudaDriver() : library_(dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {}  // stays open: a started driver has threads

  bool is_there() const { return library_ != nullptr; }
  /// -1 when the function is missing.
  template <typename... Args>
  int call(const char* name, Args... args) const {
    const auto function = reinterpret_cast<int (*)(Args...)>(dlsym(library_, name));
    return function ? function(args...) : -1;
  }

 private:
  void* library_;
};

std::string cpu_line() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores)
                                                                    : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const int64_t memory = sysconf(_SC_PHYS_PAGES) * static_cast<int64_t>(sysconf(_SC_PAGESIZE));
  return "cpu      " + std::to_string(count) + (count == 1 ? " core, " : " cores, ") + human_bytes(memory) + "\n";
}

std::string cuda_line(const CudaDriver& driver, int ordinal) {
  constexpr int kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76;  // CUdevice_attribute
  std::array<char, 128> name{};
  int device = 0, major = 0, minor = 0;
  size_t bytes = 0;
  if (driver.call("cuDeviceGet", &device, ordinal) != 0) return {};
  driver.call("cuDeviceGetName", name.data(), static_cast<int>(name.size()), device);
  driver.call("cuDeviceTotalMem_v2", &bytes, device);
  driver.call("cuDeviceGetAttribute", &major, kComputeCapabilityMajor, device);
  driver.call("cuDeviceGetAttribute", &minor, kComputeCapabilityMinor, device);
  return "cuda:" + std::to_string(ordinal) + "   " + name.data() + ", " + human_bytes(static_cast<int64_t>(bytes)) +
         ", compute capability " + std::to_string(major) + "." + std::to_string(minor) + "\n";
}

}  // namespace

std::string device_list() {
  std::string out = cpu_line();
  const CudaDriver driver;
  if (!driver.is_there()) return out + "no CUDA driver (libcuda.so.1) found\n";
  int count = 0;
  if (const int code = driver.call("cuInit", 0U); code != 0) {
    return out + "the CUDA driver does not start (cuInit: " + std::to_string(code) + ")\n";
  }
  driver.call("cuDeviceGetCount", &count);
  for (int i = 0; i < count; ++i) out += cuda_line(driver, i);
  return count == 0 ? out + "no CUDA device\n" : out;
}

}  // namespace t2v::cli
