// SPDX-License-Identifier: Apache-2.0
#include "io/lora.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "core/text.hpp"
#include "io/config.hpp"
#include "io/json_error.hpp"
#include "io/lora_names.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

namespace {

namespace fs = std::filesystem;

Error bad_lora(const std::string& where, const std::string& what, std::string hint = {}) {
  return Error(ErrorCode::bad_input, "bad LoRA: " + where + ": " + what, std::move(hint));
}

int64_t count_of(const TensorView& view) {
  int64_t count = 1;
  for (const int64_t size : view.shape) count *= size;
  return count;
}

float half_to_float(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const float fraction = static_cast<float>(bits & 1023);
  const float magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                          : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                           : std::ldexp(fraction + 1024, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

template <class T>
T raw(const TensorView& view) {
  T value;
  std::memcpy(&value, view.bytes.data(), sizeof value);
  return value;
}

/// The one number of an alpha tensor. Trainers write it in whatever type their weights have.
double scalar_of(const TensorView& view, const std::string& name, const std::string& where) {
  const auto refuse = [&](const std::string& got) {
    return bad_lora(where, printable(name) + ": wanted one finite number, got " + got);
  };
  if (count_of(view) != 1) throw refuse("a tensor " + join_ints(view.shape));
  double value = NAN;
  switch (view.dtype) {
    case DType::f64: value = raw<double>(view); break;
    case DType::f32: value = raw<float>(view); break;
    case DType::f16: value = half_to_float(raw<uint16_t>(view)); break;
    case DType::bf16: {
      const uint32_t bits = uint32_t{raw<uint16_t>(view)} << 16;
      float wide;
      std::memcpy(&wide, &bits, sizeof wide);
      value = wide;
      break;
    }
    case DType::i64: value = static_cast<double>(raw<int64_t>(view)); break;
    case DType::i32: value = raw<int32_t>(view); break;
    case DType::i16: value = raw<int16_t>(view); break;
    case DType::i8: value = raw<int8_t>(view); break;
    default: throw refuse("the dtype " + std::string(dtype_name(view.dtype)));
  }
  if (!std::isfinite(value)) throw refuse("no number");
  return value;
}

bool is_float(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 ||
         dtype == DType::f8_e4m3 || dtype == DType::f8_e5m2;
}

/// The file in a folder: what diffusers, PEFT and MotionLoRA repositories call it.
fs::path file_in(const fs::path& folder) {
  for (const char* name : {"pytorch_lora_weights.safetensors", "adapter_model.safetensors",
                           "diffusion_pytorch_model.safetensors", "pytorch_lora_weights.bin", "adapter_model.bin"}) {
    std::error_code ignored;
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  throw bad_lora(folder.string(), "wanted a LoRA file or a folder with pytorch_lora_weights.safetensors, got neither",
                 "name the .safetensors file itself");
}

std::string adapter_config_beside(const fs::path& file) {
  if (file.stem() != "adapter_model") return {};
  constexpr size_t kMaxBytes = size_t{1} << 20;
  std::ifstream in(file.parent_path() / "adapter_config.json", std::ios::binary);
  std::string text(kMaxBytes, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return text;
}

/// What PEFT writes about a component's adapter: alpha, and exceptions by module name.
struct PeftSettings {
  double alpha = 0;  // 0: not said
  bool is_rank_stabilized = false;
  std::vector<std::pair<std::string, double>> alpha_by_module;  // keys
};

PeftSettings peft_settings(const Json& object, const std::string& prefix, const std::string& where) {
  PeftSettings settings;
  const auto find = [&](const std::string& name) -> const Json* {
    const auto it = object.find(prefix + name);
    return it == object.end() || it->is_null() ? nullptr : &*it;
  };
  const auto number = [&](const Json& value, const std::string& name) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) {
      throw bad_lora(where, printable(prefix + name) + ": wanted a number, got " + printable(value.dump(), 40));
    }
    return value.get<double>();
  };
  const auto is_set = [&](const std::string& name) {
    const Json* value = find(name);
    return value && value->is_boolean() && value->get<bool>();
  };
  if (is_set("use_dora")) refuse_kind(where, "DoRA");
  settings.is_rank_stabilized = is_set("use_rslora");
  if (const Json* alpha = find("lora_alpha")) settings.alpha = number(*alpha, "lora_alpha");
  if (const Json* pattern = find("alpha_pattern"); pattern && pattern->is_object()) {
    for (const auto& [module, alpha] : pattern->items()) {
      settings.alpha_by_module.emplace_back(module_key(module), number(alpha, "alpha_pattern"));
    }
  }
  return settings;
}

void apply_settings(const PeftSettings& settings, std::string_view component, std::vector<LoraModule>& modules) {
  for (LoraModule& module : modules) {
    if (module.rank == 0 || (!component.empty() && module.component != component)) continue;
    double alpha = settings.alpha;
    for (const auto& [key, own] : settings.alpha_by_module) {
      if (module.key == key || module.key.ends_with("_" + key)) alpha = own;
    }
    const auto rank = static_cast<double>(module.rank);
    if (alpha != 0) module.scale = alpha / (settings.is_rank_stabilized ? std::sqrt(rank) : rank);
  }
}

}  // namespace

std::string_view lora_naming(LoraNaming naming) {
  switch (naming) {
    case LoraNaming::peft: return "PEFT";
    case LoraNaming::diffusers: return "diffusers";
    case LoraNaming::attention_processors: return "diffusers attention processors";
    case LoraNaming::kohya: return "kohya (A1111)";
    case LoraNaming::full_difference: return "full differences";
  }
  return "";
}

LoraFile LoraFile::open(const fs::path& path) {
  std::error_code ignored;
  const fs::path file = fs::is_directory(path, ignored) ? file_in(path) : path;
  LoraFile lora(open_tensor_file(file), adapter_config_beside(file));
  lora.path_ = file;
  return lora;
}

LoraFile::LoraFile(std::shared_ptr<const TensorFile> file, const std::string& adapter_config) : file_(std::move(file)) {
  // A LyCORIS of every layer of SDXL has 6,000.
  constexpr size_t kMaxTensors = 20'000;
  if (tensor_count() > kMaxTensors) {
    throw bad_lora(where(),
                   "wanted at most " + std::to_string(kMaxTensors) + " tensors, got " + std::to_string(tensor_count()));
  }
  read_tensors();
  finish_modules();
  read_alphas(adapter_config);
}

size_t LoraFile::tensor_count() const { return file_->tensors().size(); }
std::string LoraFile::where() const { return file_->where(); }

/// Groups the file's tensors by module.
void LoraFile::read_tensors() {
  std::map<std::pair<std::string, std::string>, LoraModule> found;  // by component and key
  for (const auto& [name, view] : file_->tensors()) {
    const auto parsed = parse_lora_name(name, where());
    if (!parsed) {
      strangers_.push_back(name);
      continue;
    }
    LoraModule& module = found[{parsed->component, parsed->key}];
    if (module.tensors.empty()) {
      module.component = parsed->component;
      module.key = parsed->key;
      module.stored = parsed->module;
    }
    module.tensors.push_back(name);
    if (parsed->role == LoraRole::alpha) {
      alphas_[module.component + ' ' + module.key].push_back(scalar_of(view, name, where()));
      continue;
    }
    module.naming = parsed->naming;
    if (!is_float(view.dtype)) {
      throw bad_lora(where(),
                     printable(name) + ": wanted floating-point numbers, got " + std::string(dtype_name(view.dtype)));
    }
    const TensorView*& slot = parsed->role == LoraRole::down   ? module.down
                              : parsed->role == LoraRole::up   ? module.up
                              : parsed->role == LoraRole::mid  ? module.mid
                              : parsed->role == LoraRole::diff ? module.diff
                                                               : module.bias_diff;
    if (slot) {
      throw bad_lora(where(),
                     printable(name) + " and " + printable(module.tensors.front()) + " are two names of one tensor");
    }
    slot = &view;
  }
  for (auto& [key, module] : found) modules_.push_back(std::move(module));
}

/// Pairs must be whole; ranks and scales follow from them.
void LoraFile::finish_modules() {
  std::vector<LoraModule> whole;
  for (LoraModule& module : modules_) {
    const bool has_pair = module.down && module.up;
    if (!has_pair && (module.down || module.up || module.mid)) {
      throw bad_lora(where(), printable(module.stored) + ": wanted both halves of a pair (down and up), got one",
                     "the file is damaged or cut");
    }
    if (!has_pair && !module.diff && !module.bias_diff) {  // an alpha that belongs to nothing
      strangers_.insert(strangers_.end(), module.tensors.begin(), module.tensors.end());
      continue;
    }
    if (has_pair) {
      module.rank = module.down->shape.size() < 2 ? 0 : module.down->shape[0];
      if (module.rank < 1 || count_of(*module.down) == 0 || count_of(*module.up) == 0) {
        throw bad_lora(where(), printable(module.stored) + ": wanted matrices [rank, in] and [out, rank], got " +
                                    join_ints(module.down->shape) + " and " + join_ints(module.up->shape));
      }
      const auto alphas = alphas_.find(module.component + ' ' + module.key);
      if (alphas != alphas_.end()) {
        if (alphas->second.size() > 1) throw bad_lora(where(), printable(module.stored) + ": two alphas");
        module.scale = alphas->second.front() / static_cast<double>(module.rank);
      }
    }
    whole.push_back(std::move(module));
  }
  modules_ = std::move(whole);
}

/// Alphas that stand beside the tensors: PEFT's adapter_config.json, or diffusers' "lora_adapter_metadata"
/// (diffusers 0.35 and newer, loaders/lora_base.py).
void LoraFile::read_alphas(const std::string& adapter_config) {
  if (!adapter_config.empty()) {
    const Json object = parse_json(adapter_config, where() + ": adapter_config.json");
    if (object.is_object()) apply_settings(peft_settings(object, "", where()), "", modules_);
    return;
  }
  const auto text = file_->metadata().find("lora_adapter_metadata");
  if (text == file_->metadata().end()) return;
  const Json object = parse_json(text->second, where() + ": lora_adapter_metadata");
  if (!object.is_object()) return;
  if (object.contains("lora_alpha"))
    apply_settings(peft_settings(object, "", where()), "", modules_);  // of one network
  for (const auto& [component, count] : modules_by_component()) {
    apply_settings(peft_settings(object, component + ".", where()), component, modules_);
  }
}

std::string LoraFile::naming() const {
  std::set<std::string_view> names;
  for (const auto& module : modules_) names.insert(lora_naming(module.naming));
  return join(std::vector<std::string>(names.begin(), names.end()), " and ");
}

std::vector<int64_t> LoraFile::ranks() const {
  std::set<int64_t> ranks;
  for (const auto& module : modules_) {
    if (module.rank > 0) ranks.insert(module.rank);
  }
  return {ranks.begin(), ranks.end()};
}

std::map<std::string, int64_t> LoraFile::modules_by_component() const {
  std::map<std::string, int64_t> counts;
  for (const auto& module : modules_) ++counts[module.component];
  return counts;
}

bool LoraFile::is_motion_only() const {
  return !modules_.empty() && std::ranges::all_of(modules_, [](const LoraModule& module) {
    return module.key.find("motion_modules") != std::string::npos;
  });
}

std::string LoraFile::base_hint() const {
  if (is_motion_only()) return "AnimateDiff motion modules";
  const auto& facts = file_->metadata();
  for (const char* key : {"ss_base_model_version", "modelspec.architecture", "base_model"}) {
    if (const auto found = facts.find(key); found != facts.end() && !found->second.empty()) {
      return printable(found->second, 80);
    }
  }
  for (const auto& module : modules_) {
    // Layers over frames have an attn2 too, but attend to the video itself.
    const bool over_frames = module.key.find("motion_modules") != std::string::npos ||
                             module.key.find("temp_attentions") != std::string::npos;
    if (!module.down || module.component != "unet" || !module.key.ends_with("attn2_to_k") || over_frames ||
        module.down->shape.size() < 2) {
      continue;
    }
    const int64_t width = module.down->shape[1];  // of the text
    const std::string text = "text of width " + std::to_string(width);
    if (width == 768) return "Stable Diffusion 1.x (" + text + ")";
    if (width == 1024) return "Stable Diffusion 2.x or ModelScope (" + text + ")";
    if (width == 2048) return "Stable Diffusion XL (" + text + ")";
    return "a model with " + text;
  }
  return {};
}

}  // namespace t2v::io
