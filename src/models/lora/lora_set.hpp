// SPDX-License-Identifier: Apache-2.0
// The LoRAs of a run (--lora), merged into a model's weights while they are loaded: W += weight * alpha/rank * up down,
// in fp32, before a layer casts, fuses or packs anything. A family builds one LoraSet, binds each network that LoRAs
// may change, asks for the report, and gives overlay() to the store it loads from:
//
//   loras_.bind("unet", unet_header_store);           // in the constructor: shapes are checked before weights are read
//   loras_.finish(pipeline_class);
//   store.set_overlay(loras_.overlay("unet"));        // in load()
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/lora.hpp"
#include "t2v/pipeline.hpp"
#include "tensor/weights.hpp"

namespace t2v::models::lora {

class LoraSet {
 public:
  LoraSet() = default;
  /// Opens and parses the files. Error{bad_input} or Error{unsupported} as LoraFile::open().
  explicit LoraSet(const std::vector<std::pair<std::string, double>>& loras);

  /// Finds the tensors for the network `component` ("unet", "text_encoder") among its weights. Error{bad_input} for one
  /// whose shape does not fit.
  void bind(const std::string& component, const WeightStore& network);
  /// Says on the log what matched and what did not. Error{bad_input} for a LoRA that changes nothing.
  void finish(const std::string& pipeline_class);

  /// Whether a MotionLoRA here is named for this move of the camera and so makes it, at its own weight. Error{usage}
  /// when the move asks for another strength than 1.
  bool makes_move(const std::string& move, double strength) const;

  /// For the store that `component` is loaded from; null when no LoRA changes it.
  std::shared_ptr<const WeightOverlay> overlay(const std::string& component) const;
  std::vector<LoraInfo> info() const;

 private:
  struct Entry {
    std::shared_ptr<const io::LoraFile> file;  // shared with the overlays, which read from its mapping
    LoraInfo info;
    std::vector<bool> matched;  // by module
  };
  class Overlay;
  std::vector<Entry> entries_;
  std::map<std::string, std::shared_ptr<Overlay>> overlays_;  // by component; shared with the stores
};

}  // namespace t2v::models::lora
