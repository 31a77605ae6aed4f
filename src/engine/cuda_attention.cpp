// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_attention.hpp"

#include <array>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <torch/headeronly/version.h>

#include "engine/cuda_plugin.hpp"
#include "t2v/error.hpp"

namespace t2v::engine {

namespace {

using at::SDPBackend;

constexpr std::array<std::pair<AttentionBackend, SDPBackend>, 4> kForms{{
    {AttentionBackend::flash, SDPBackend::flash_attention},
    {AttentionBackend::efficient, SDPBackend::efficient_attention},
    {AttentionBackend::cudnn, SDPBackend::cudnn_attention},
    {AttentionBackend::math, SDPBackend::math},
}};

/// ATen's order of preference belongs to the whole process.
std::mutex order_mutex;

/// ATen asks its forms in an order of preference and takes the first that can: while this lives, `first` is the first.
/// Unlike switching the others off that leaves it one for every call, and no warning.
class Preferring {
 public:
  explicit Preferring(SDPBackend first) : before_(at::globalContext().sDPPriorityOrder()) {
    std::vector<int64_t> order{static_cast<int64_t>(first)};
    for (const SDPBackend form : before_) {
      if (form != first) order.push_back(static_cast<int64_t>(form));
    }
    at::globalContext().setSDPPriorityOrder(order);
  }
  ~Preferring() {
    std::vector<int64_t> order;
    for (const SDPBackend form : before_) order.push_back(static_cast<int64_t>(form));
    at::globalContext().setSDPPriorityOrder(order);
  }
  Preferring(const Preferring&) = delete;
  Preferring& operator=(const Preferring&) = delete;

 private:
  std::array<SDPBackend, at::num_sdp_backends> before_;
};

SDPBackend choice_of_aten(const AttentionCall& call) {
  return static_cast<SDPBackend>(
      at::_fused_sdp_choice(call.q, call.k, call.v, call.bias, /*dropout_p=*/0.0, call.is_causal, call.scale));
}

/// Of the logits that the plain form writes down, a few times over: no memory plan knows of them.
bool has_small_logits(const AttentionCall& call) {
  constexpr int64_t kMostLogits = int64_t{1} << 21;  // 8 MB in fp32
  return call.q.size(0) * call.q.size(1) * call.q.size(2) * call.k.size(2) <= kMostLogits;
}

class CudaAttention final : public AttentionDevice {
 public:
  CudaAttention(const cuda::PluginApi& api, c10::Device device) : api_(api), device_(device) {}

  c10::Device device() const override { return device_; }
  std::string name() const override {
    cuda::DeviceInfo info{};
    const at::CUDAHooksInterface& cuda = at::detail::getCUDAHooks();
    check(api_.device_info(device_.index(), &info));
    return std::string(info.name) + ", " + std::to_string(info.capability_major) + "." +
           std::to_string(info.capability_minor) + ", libtorch " TORCH_VERSION ", cuDNN " +
           std::to_string(cuda.hasCuDNN() ? cuda.versionCuDNN() : 0);
  }

  std::vector<AttentionBackend> alternatives(const AttentionCall& call) override {
    const std::lock_guard lock(order_mutex);
    const SDPBackend own = choice_of_aten(call);  // asked first: with its first answer ATen sets the device's own order
    std::vector<AttentionBackend> found;
    for (const auto& [backend, form] : kForms) {
      if (form == own || (form == SDPBackend::math && !has_small_logits(call))) continue;
      const Preferring preferring(form);
      if (choice_of_aten(call) == form) found.push_back(backend);
    }
    return found;
  }

  at::Tensor compute(const AttentionCall& call, AttentionBackend backend) override {
    for (const auto& [ours, form] : kForms) {
      if (ours != backend) continue;
      const std::lock_guard lock(order_mutex);
      const Preferring preferring(form);
      return attention_as_aten_chooses(call);
    }
    return attention_as_aten_chooses(call);
  }

  double now() override {
    check(api_.synchronize(device_.index()));
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

 private:
  void check(int status) const {
    if (status != 0) throw Error(ErrorCode::no_resource, std::string("CUDA attention: ") + api_.last_error());
  }

  const cuda::PluginApi& api_;
  c10::Device device_;
};

bool is_wanted() {
  const char* value = std::getenv("T2V_ATTENTION");
  const std::string wanted = value == nullptr || *value == '\0' ? "auto" : value;
  if (wanted == "auto" || wanted == "aten") return wanted == "auto";
  throw Error(ErrorCode::usage, "bad value: T2V_ATTENTION: wanted auto or aten, got '" + wanted + "'");
}

}  // namespace

std::unique_ptr<AttentionDevice> make_cuda_attention(const cuda::PluginApi& api, c10::Device device) {
  return std::make_unique<CudaAttention>(api, device);
}

void use_cuda_attention(c10::Device device) {
  static std::mutex mutex;
  static std::unique_ptr<AttentionChoice> choice;
  const std::lock_guard lock(mutex);
  const auto file = attention_file_path();
  if (!is_wanted() || !file || (choice && choice->takes(device))) return;
  auto fresh = std::make_unique<AttentionChoice>(make_cuda_attention(cuda_plugin(), device), AttentionFile(*file));
  set_attention_backends(fresh.get());
  choice = std::move(fresh);
}

std::string attention_report() {
  if (!is_wanted()) return "as libtorch chooses (T2V_ATTENTION)";
  const auto path = attention_file_path();
  if (!path) return "as libtorch chooses: no place to remember choices, neither $XDG_CACHE_HOME nor $HOME is set";
  const size_t count = AttentionFile(*path).count();
  return std::to_string(count) + (count == 1 ? " shape" : " shapes") + " timed, in " + path->string();
}

}  // namespace t2v::engine
