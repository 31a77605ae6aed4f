// SPDX-License-Identifier: Apache-2.0
#include "models/lora/lora_set.hpp"

#include <algorithm>
#include <set>

#include "core/log.hpp"
#include "core/text.hpp"
#include "io/checkpoint.hpp"
#include "models/lora/merge.hpp"
#include "models/lora/motion_move.hpp"
#include "t2v/error.hpp"

namespace t2v::models::lora {

namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

constexpr std::string_view kWeight = ".weight", kBias = ".bias";

/// Modules of a network by module_key(); LDM's names for them are understood, too.
class ModuleIndex {
 public:
  explicit ModuleIndex(const Shapes& shapes) {
    for (const auto& [name, shape] : shapes) {
      if (!name.ends_with(kWeight)) continue;
      const std::string module = name.substr(0, name.size() - kWeight.size());
      by_key_.emplace(io::module_key(module), module);
    }
    while (has_resnet(layers_)) ++layers_;
  }

  /// The module's dotted name, or null.
  const std::string* find(const std::string& key) const {
    auto found = by_key_.find(key);
    if (found == by_key_.end()) found = by_key_.find(io::key_of_ldm(key, layers_));
    return found == by_key_.end() ? nullptr : &found->second;
  }

 private:
  bool has_resnet(int64_t layer) const {
    const std::string start = "down_blocks_0_resnets_" + std::to_string(layer) + "_";
    const auto found = by_key_.lower_bound(start);
    return found != by_key_.end() && found->first.starts_with(start);
  }

  std::map<std::string, std::string> by_key_;
  int64_t layers_ = 0;  ///< residual blocks a level
};

Error misfit(const io::LoraFile& file, const io::LoraModule& module, const std::string& weight,
             const std::string& problem) {
  const std::string base = file.base_hint();
  return Error(
      ErrorCode::bad_input,
      "bad LoRA: " + file.where() + ": " + module.stored + " for " + module.component + " " + weight + ": " + problem,
      base.empty() ? "this LoRA was made for another model" : "this LoRA was made for another model: " + base);
}

/// "a, b, c and 4 more"
std::string first_few(std::vector<std::string> names) {
  constexpr size_t kShown = 3;
  const size_t count = names.size();
  names.resize(std::min(count, kShown));
  const std::string shown = join(names, ", ");
  return count > kShown ? shown + " and " + std::to_string(count - kShown) + " more" : shown;
}

std::string nothing_matched_hint(const io::LoraFile& file) {
  if (file.modules().empty()) return "the file holds no LoRA: no tensor has a name that trainers give";
  std::vector<std::string> parts;
  for (const auto& [component, count] : file.modules_by_component()) {
    parts.push_back(component + " (" + std::to_string(count) + ")");
  }
  const std::string base = file.base_hint();
  return "it holds modules of " + join(parts, ", ") + " in the names of " + file.naming() + ", such as " +
         file.modules().front().stored + (base.empty() ? "" : "; made for " + base);
}

}  // namespace

/// The changes of one network, by weight.
class LoraSet::Overlay final : public WeightOverlay {
 public:
  struct Change {
    std::shared_ptr<const io::LoraFile> file;  // shared with the set; keeps the module alive
    const io::LoraModule* module;
    double strength;
  };

  void add(const std::string& weight, Change change) { changes_[weight].push_back(std::move(change)); }

  std::optional<Tensor> changed(const std::string& name, const Tensor& stored) const override {
    const auto found = changes_.find(name);
    if (found == changes_.end()) return std::nullopt;
    // A copy even of fp32: the file's memory is never written to.
    Tensor weight = stored.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
    for (const Change& change : found->second) {
      const bool is_bias = name.ends_with(kBias);
      (is_bias ? add_to_bias : add_to_weight)(weight, *change.module, change.strength, change.file);
      for (const auto* view : {change.module->down, change.module->up, change.module->mid, change.module->diff}) {
        if (view) change.file->file().release(*view);  // read again from the file when touched
      }
    }
    return weight;
  }

 private:
  std::map<std::string, std::vector<Change>> changes_;
};

LoraSet::LoraSet(const std::vector<std::pair<std::string, double>>& loras) {
  for (const auto& [path, weight] : loras) {
    Entry entry;
    entry.file = std::make_shared<const io::LoraFile>(io::LoraFile::open(io::resolve_lora(path)));
    entry.info = {.name = std::filesystem::path(path).filename().string(),
                  .weight = weight,
                  .content_hash = io::file_hash(entry.file->path()),
                  .naming = entry.file->naming(),
                  .ranks = entry.file->ranks(),
                  .tensors = static_cast<int64_t>(entry.file->tensor_count())};
    entry.matched.resize(entry.file->modules().size());
    entries_.push_back(std::move(entry));
  }
}

void LoraSet::bind(const std::string& component, const WeightStore& network) {
  if (entries_.empty()) return;
  const Shapes shapes = network.shapes();
  const ModuleIndex index(shapes);
  auto& overlay = overlays_[component];
  if (!overlay) overlay = std::make_shared<Overlay>();
  for (Entry& entry : entries_) {
    const auto& modules = entry.file->modules();
    std::set<std::string> changed;
    for (size_t i = 0; i < modules.size(); ++i) {
      const io::LoraModule& module = modules[i];
      const std::string* target = module.component == component ? index.find(module.key) : nullptr;
      // A file with both spellings of a module holds it twice; the first counts, as in diffusers.
      if (!target || !changed.insert(*target).second) continue;
      const auto add = [&](std::string_view suffix, const std::string& problem) {
        const std::string weight = *target + std::string(suffix);
        if (!problem.empty()) throw misfit(*entry.file, module, weight, problem);
        if (entry.info.weight != 0) overlay->add(weight, {entry.file, &module, entry.info.weight});
      };
      if (module.down || module.diff) {
        add(kWeight, mismatch(module, shapes.at(*target + std::string(kWeight))));
      }
      if (module.bias_diff) {
        const auto bias = shapes.find(*target + std::string(kBias));
        const std::vector<int64_t> got = module.bias_diff->shape;
        const bool fits = bias != shapes.end() && bias->second == got;
        const std::string wanted = bias == shapes.end() ? "no bias" : join_ints(bias->second);
        add(kBias, fits ? std::string() : "bias: wanted " + wanted + ", got " + join_ints(got));
      }
      entry.matched[i] = true;
      entry.info.matched += static_cast<int64_t>(module.tensors.size());
    }
  }
}

void LoraSet::finish(const std::string& pipeline_class) {
  for (const Entry& entry : entries_) {
    const LoraInfo& info = entry.info;
    const std::string counts =
        "matched " + std::to_string(info.matched) + " of " + std::to_string(info.tensors) + " tensors";
    if (info.matched == 0) {
      throw Error(ErrorCode::bad_input,
                  "bad LoRA: " + entry.file->where() + ": wanted tensors for " + pipeline_class + ", " + counts,
                  nothing_matched_hint(*entry.file));
    }
    log::info("lora {}: {}, weight {}", info.name, counts, info.weight);
    if (info.matched == info.tensors) continue;
    std::vector<std::string> left = entry.file->strangers();
    const auto& modules = entry.file->modules();
    for (size_t i = 0; i < modules.size(); ++i) {
      if (!entry.matched[i]) left.insert(left.end(), modules[i].tensors.begin(), modules[i].tensors.end());
    }
    log::warn("lora {}: not used: {}", info.name, first_few(std::move(left)));
  }
}

bool LoraSet::makes_move(const std::string& move, double strength) const {
  for (const Entry& entry : entries_) {
    const std::string_view own = move_named_by(entry.file->path());
    if (!entry.file->is_motion_only() || !is_same_move(own, move)) continue;
    if (strength != 1) {
      throw Error(ErrorCode::usage,
                  "--camera " + move + ": wanted no strength beside the MotionLoRA " + entry.info.name +
                      ", which makes this move",
                  "the weight of the LoRA is its strength: --lora FILE:WEIGHT");
    }
    log::info("camera {}: made by the MotionLoRA {}", move, entry.info.name);
    return true;
  }
  return false;
}

std::shared_ptr<const WeightOverlay> LoraSet::overlay(const std::string& component) const {
  const auto found = overlays_.find(component);
  return found == overlays_.end() ? nullptr : found->second;
}

std::vector<LoraInfo> LoraSet::info() const {
  std::vector<LoraInfo> out;
  for (const Entry& entry : entries_) out.push_back(entry.info);
  return out;
}

}  // namespace t2v::models::lora
