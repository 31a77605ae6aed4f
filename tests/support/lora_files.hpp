// SPDX-License-Identifier: Apache-2.0
// Writes the LoRAs of scripts/golden/lora.py in the naming of any trainer.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/config.hpp"
#include "io/tensor_file.hpp"
#include "support/formula_weights.hpp"

namespace t2v::test {

/// Tensors with names of their own, then a safetensors file.
class TensorWriter {
 public:
  void add(const std::string& name, const Shape& shape, std::vector<float> values) {
    entries_.push_back({name, shape, std::move(values)});
  }
  void add_formula(const std::string& name, const Shape& shape, const std::string& formula_name) {
    add(name, shape, formula_weight(formula_name, shape));
  }
  void write(const std::filesystem::path& file, const std::map<std::string, std::string>& metadata = {}) const {
    std::filesystem::create_directories(file.parent_path());
    std::vector<io::NamedTensor> tensors;
    for (const auto& entry : entries_) {
      tensors.push_back({entry.name, {io::DType::f32, entry.shape, {}, std::as_bytes(std::span(entry.values))}});
    }
    io::write_safetensors(file, tensors, metadata);
  }

 private:
  struct Entry {
    std::string name;
    Shape shape;
    std::vector<float> values;
  };
  std::vector<Entry> entries_;
};

inline std::string with_underscores(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

/// How a trainer spells the tensors of one module.
struct Naming {
  std::function<std::string(const std::string& component, const std::string& module)> module;
  std::string down, up, alpha;
};

inline std::string dotted(const std::string& component, const std::string& module) {
  return component + "." + (component == "text_encoder" ? "text_model." : "") + module;
}

inline Naming peft_naming() { return {dotted, ".lora_A.weight", ".lora_B.weight", ".alpha"}; }
inline Naming diffusers_naming() { return {dotted, ".lora.down.weight", ".lora.up.weight", ".alpha"}; }
inline Naming kohya_naming() {
  return {[](const std::string& component, const std::string& module) {
            return component == "unet" ? "lora_unet_" + with_underscores(module)
                                       : "lora_te_text_model_" + with_underscores(module);
          },
          ".lora_down.weight", ".lora_up.weight", ".alpha"};
}
/// diffusers before 0.22: attention only, without a component in front.
inline Naming processor_naming() {
  return {[](const std::string&, const std::string& module) {
            const std::string name = module.ends_with("to_out.0") ? module.substr(0, module.size() - 2) : module;
            const size_t dot = name.rfind('.');
            return name.substr(0, dot) + ".processor" + name.substr(dot);
          },
          "_lora.down.weight", "_lora.up.weight", ".alpha"};
}

/// `lora` is one of "loras" in lora.json, called `label` there.
inline void write_lora(const std::filesystem::path& file, const io::Json& lora, const std::string& label,
                       const Naming& naming) {
  TensorWriter writer;
  for (const auto& row : lora["modules"]) {
    const auto component = row["component"].get<std::string>(), module = row["module"].get<std::string>();
    const std::string name = naming.module(component, module);
    const std::string source = "lora." + label + "." + component + "." + module;
    writer.add_formula(name + naming.down, row["down"].get<Shape>(), source + ".down");
    writer.add_formula(name + naming.up, row["up"].get<Shape>(), source + ".up");
    if (!lora["alpha"].is_null()) writer.add(name + naming.alpha, {}, {lora["alpha"].get<float>()});
  }
  writer.write(file);
}

}  // namespace t2v::test
