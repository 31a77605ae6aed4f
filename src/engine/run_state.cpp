// SPDX-License-Identifier: Apache-2.0
#include "engine/run_state.hpp"

#include <charconv>
#include <cstring>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include "core/text.hpp"
#include "io/formats.hpp"
#include "t2v/error.hpp"
#include "tensor/dtypes.hpp"

namespace t2v::engine {

namespace {

constexpr const char* kLatents = "run.latents";
constexpr const char* kRng = "run.rng";
constexpr std::string_view kScheduler = "scheduler.", kDenoiser = "denoiser.";
constexpr const char* kAbout = "t2v_run";  // key of __metadata__
constexpr const char* kDone = "steps_done";
constexpr const char* kSteps = "steps";

using Named = std::map<std::string, at::Tensor>;

RunState::Array to_array(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(c10::kCPU).contiguous();
  RunState::Array array;
  array.dtype = io::dtype_name(file_dtype(plain.scalar_type()));
  array.shape.assign(plain.sizes().begin(), plain.sizes().end());
  const auto* data = static_cast<const std::byte*>(plain.const_data_ptr());
  array.bytes.assign(data, data + plain.nbytes());
  return array;
}

[[noreturn]] void bad_state(const std::string& what) {
  throw Error(ErrorCode::bad_input, "bad run state: " + what, "it belongs to another run, or was changed since");
}

at::Tensor to_tensor(const RunState::Array& array, const std::string& name) {
  const auto dtype = io::dtype_of(array.dtype);
  const auto bytes = dtype ? io::checked_bytes(array.shape, io::dtype_size(*dtype)) : std::nullopt;
  if (!bytes || *bytes != static_cast<int64_t>(array.bytes.size())) {
    bad_state(name + ": wanted " + array.dtype + " " + join_ints(array.shape) + ", got " +
              std::to_string(array.bytes.size()) + " bytes");
  }
  at::Tensor tensor = at::empty(array.shape, at::TensorOptions().dtype(scalar_type(*dtype)));
  if (*bytes > 0) std::memcpy(tensor.mutable_data_ptr(), array.bytes.data(), array.bytes.size());
  return tensor;
}

void add(RunState& state, std::string_view prefix, const Named& tensors) {
  for (const auto& [name, tensor] : tensors) state.arrays[std::string(prefix) + name] = to_array(tensor);
}

/// The tensors of one prefix. Coefficients (no axes) stay on the CPU, where samplers keep them.
Named part(const RunState& state, std::string_view prefix, const c10::Device& device) {
  Named tensors;
  for (const auto& [name, array] : state.arrays) {
    if (!name.starts_with(prefix)) continue;
    const at::Tensor tensor = to_tensor(array, name);
    tensors[name.substr(prefix.size())] = tensor.dim() > 0 ? tensor.to(device) : tensor;
  }
  return tensors;
}

at::Tensor required(const RunState& state, const char* name) {
  const auto found = state.arrays.find(name);
  if (found == state.arrays.end()) bad_state(std::string("wanted ") + name + ", got none");
  return to_tensor(found->second, name);
}

int64_t number(const std::map<std::string, std::string>& metadata, const char* key) {
  int64_t value = -1;
  if (const auto found = metadata.find(key); found != metadata.end()) {
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  }
  return value;
}

}  // namespace

RunState capture(const RunParts& parts, int64_t steps_done, int64_t steps) {
  RunState kept{.steps_done = steps_done, .steps = steps, .arrays = {}};
  kept.arrays[kLatents] = to_array(parts.state);
  kept.arrays[kRng] = to_array(parts.rng.state());
  add(kept, kScheduler, parts.scheduler.state());
  add(kept, kDenoiser, parts.denoiser.state());
  return kept;
}

void restore(const RunState& kept, const RunParts& parts, int64_t steps) {
  const at::Tensor latents = required(kept, kLatents);
  if (kept.steps != steps || kept.steps_done < 0 || kept.steps_done > steps) {
    bad_state("wanted a run of " + std::to_string(steps) + " network calls, got one of " + std::to_string(kept.steps));
  }
  if (latents.sizes() != parts.state.sizes() || !latents.is_floating_point()) {
    bad_state("latents: wanted " + join_ints(parts.state.sizes()) + ", got " + join_ints(latents.sizes()));
  }
  const at::Tensor random = required(kept, kRng), now = parts.rng.state();
  if (random.scalar_type() != now.scalar_type() || random.sizes() != now.sizes()) {
    bad_state("wanted the state of " + std::to_string(now.numel()) + " bytes that this random generator has, got " +
              std::to_string(random.numel()));
  }
  const c10::Device device = parts.state.device();
  const Named history = part(kept, kScheduler, device);
  for (const auto& [name, tensor] : history) {
    const bool fits = tensor.is_floating_point() && (tensor.dim() == 0 || tensor.sizes() == latents.sizes());
    if (!fits)
      bad_state("sampler's " + name + ": wanted " + join_ints(latents.sizes()) + ", got " + join_ints(tensor.sizes()));
  }
  try {
    parts.rng.set_state(random);
  } catch (const c10::Error&) {
    bad_state("the random generator does not know its state");
  }
  parts.state = latents.to(device);
  parts.scheduler.set_state(history);
  parts.denoiser.set_state(part(kept, kDenoiser, device));
}

void save_run_state(const std::filesystem::path& file, const RunState& state, const std::string& about) {
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, array] : state.arrays) {
    const auto dtype = io::dtype_of(array.dtype);
    if (!dtype) bad_state(name + ": unknown dtype " + array.dtype);
    tensors.push_back({name, {*dtype, array.shape, {}, std::span(array.bytes)}});
  }
  io::write_safetensors(
      file, tensors,
      {{kAbout, about}, {kDone, std::to_string(state.steps_done)}, {kSteps, std::to_string(state.steps)}});
}

std::optional<std::string> about_run_state(const io::TensorFile& file) {
  const auto about = file.metadata().find(kAbout);
  if (about == file.metadata().end() || !file.tensors().contains(kLatents)) return std::nullopt;
  return about->second;
}

KeptRun load_run_state(const std::filesystem::path& path) {
  const auto file = io::open_tensor_file(path);
  const auto about = about_run_state(*file);
  if (!about) {
    throw Error(ErrorCode::bad_input,
                "bad run state: " + path.string() + ": wanted the state of an unfinished run, got " +
                    (file->tensors().contains("latents") ? "finished latents" : "something else"),
                file->tensors().contains("latents") ? "t2v decode makes the video of latents"
                                                    : "--checkpoint-every writes such a file");
  }
  KeptRun kept{
      .state = {.steps_done = number(file->metadata(), kDone), .steps = number(file->metadata(), kSteps), .arrays = {}},
      .about = *about};
  for (const auto& [name, view] : file->tensors()) {
    if (!view.strides.empty()) bad_state(name + ": wanted a plain tensor");
    kept.state.arrays[name] = {
        std::string(io::dtype_name(view.dtype)), view.shape, {view.bytes.begin(), view.bytes.end()}};
  }
  return kept;
}

}  // namespace t2v::engine
