// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_plugin.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <mutex>

#include "t2v/error.hpp"

namespace t2v::engine {

namespace {

namespace fs = std::filesystem;

constexpr const char* kUseCpu = "or use --device cpu";

[[noreturn]] void no_cuda(const std::string& what, const std::string& hint) {
  throw Error(ErrorCode::no_resource, "no CUDA: " + what, hint + ", " + kUseCpu);
}

std::string load_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown loader error";
}

/// The folder of the library (or test program) this code is in.
fs::path own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&cuda_likely), &info) != 0 && info.dli_fname != nullptr) {
    std::error_code ignored;
    const fs::path file = fs::canonical(info.dli_fname, ignored);
    if (!file.empty()) return file.parent_path();
  }
  return ".";
}

/// The driver's own library comes with the driver alone, so its absence is told apart from a missing toolkit library.
void require_driver() {
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    no_cuda("NVIDIA driver: wanted libcuda.so.1, got " + load_error(),
            "install an NVIDIA driver (version 580 or newer, for CUDA 13)");
  }
}

std::mutex in_use_mutex;
const cuda::PluginApi* in_use = nullptr;

/// Turns a failed call of the plug-in into an error.
void check(const cuda::PluginApi& api, int status, const std::string& what) {
  if (status == 0) return;
  throw Error(ErrorCode::no_resource, "CUDA: " + what + ": " + api.last_error(),
              "`nvidia-smi` shows the state of the driver and its devices; --device cpu computes without them");
}

cuda::DeviceInfo info_of(int index) {
  const cuda::PluginApi& api = cuda_plugin();
  cuda::DeviceInfo info{};
  check(api, api.device_info(index, &info), "asking device " + std::to_string(index));
  return info;
}

}  // namespace

bool cuda_likely() {
  for (const char* sign : {"/dev/nvidiactl", "/proc/driver/nvidia/version", "/usr/lib/wsl/lib/libcuda.so.1"}) {
    if (access(sign, F_OK) == 0) return true;
  }
  return false;
}

const cuda::PluginApi& open_cuda_plugin(const fs::path& file) {
  if (!fs::exists(file)) {
    no_cuda("plug-in: wanted " + file.string() + ", got no such file (t2v was built without its CUDA part)",
            "run scripts/setup --cuda and build again");
  }
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);  // stays open: libtorch_cuda can't be unloaded
  if (library == nullptr) {
    no_cuda("plug-in " + file.filename().string() + ": wanted all its libraries, got " + load_error(),
            "run scripts/setup --cuda, which installs the CUDA libraries");
  }
  const auto entry = reinterpret_cast<cuda::PluginEntry>(dlsym(library, cuda::kPluginEntryName));
  if (entry == nullptr) {
    no_cuda("plug-in " + file.string() + ": wanted a t2v CUDA plug-in, got " + load_error(), "build t2v again");
  }
  const cuda::PluginApi* api = entry();
  if (api->abi != cuda::kPluginAbi) {
    no_cuda("plug-in " + file.string() + ": wanted interface " + std::to_string(cuda::kPluginAbi) + ", got " +
                std::to_string(api->abi),
            "build t2v and its CUDA part together");
  }
  return *api;
}

const cuda::PluginApi& cuda_plugin() {
  const std::lock_guard lock(in_use_mutex);
  if (in_use == nullptr) {
    require_driver();
    in_use = &open_cuda_plugin(own_folder() / "libt2v_cuda.so");
  }
  return *in_use;
}

void use_cuda_plugin(const cuda::PluginApi& api) {
  const std::lock_guard lock(in_use_mutex);
  in_use = &api;
}

int cuda_device_count() {
  const cuda::PluginApi& api = cuda_plugin();
  int count = 0;
  check(api, api.device_count(&count), "looking for devices");
  return count;
}

void require_cuda(int index) {
  const int count = cuda_device_count();
  if (index < 0 || index >= count) {
    const std::string wanted = count == 0
                                   ? "a device, got none"
                                   : "an index below " + std::to_string(count) + ", got " + std::to_string(index);
    throw Error(ErrorCode::no_resource, "no such device: --device cuda:" + std::to_string(index) + ": wanted " + wanted,
                "t2v --list-devices names those that are there");
  }
  info_of(index);
}

int64_t cuda_total_bytes(int index) { return info_of(index).total_bytes; }

int64_t cuda_free_bytes(int index) {
  const cuda::PluginApi& api = cuda_plugin();
  int64_t free_bytes = 0, total_bytes = 0;
  check(api, api.memory_info(index, &free_bytes, &total_bytes), "asking for memory");
  int64_t reserved = 0, peak = 0, unused = 0;
  if (api.memory_reserved(index, &reserved, &peak, &unused) != 0) unused = 0;  // nothing was allocated yet
  return free_bytes + unused;
}

void cuda_synchronize(int index) {
  const cuda::PluginApi& api = cuda_plugin();
  check(api, api.synchronize(index), "waiting for the device");
}

void cuda_empty_cache() {
  const cuda::PluginApi& api = cuda_plugin();
  check(api, api.empty_cache(), "freeing memory");
}

}  // namespace t2v::engine
