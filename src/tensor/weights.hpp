// SPDX-License-Identifier: Apache-2.0
// How a network takes its parameters: Weights is a view of a WeightStore at a dotted prefix, so code spells the
// checkpoint: w.at("down_blocks").at(0).at("resnets").at(1).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/tensor_file.hpp"
#include "tensor/placement.hpp"

namespace t2v {

using at::Tensor;

class DeviceUpload;
class WeightStore;

/// Changes weights on their way from the file to the network: what a LoRA does. Called from one thread at a time.
class WeightOverlay {
 public:
  virtual ~WeightOverlay() = default;
  /// `name` as the network asks for it, `stored` as the file has it (any dtype, on the CPU, shaped as wanted). Gives
  /// the changed weight in fp32, or nothing where it stays as it is.
  virtual std::optional<Tensor> changed(const std::string& name, const Tensor& stored) const = 0;
};

class Weights {
 public:
  Weights at(std::string_view child) const;  ///< may contain dots
  Weights at(int64_t index) const;
  bool has(std::string_view name) const;  ///< for tolerated old spellings only; structure comes from configs

  /// The tensor prefix.name, placed (device, dtype). Shape must match exactly, except that a trailing run of 1s may be
  /// added or dropped (1x1 convolution stored as linear and the other way round). Throws Error{bad_input} naming file,
  /// tensor, wanted and got. Missing tensors throw too.
  Tensor take(std::string_view name, at::IntArrayRef shape) const;
  /// The same before it is placed, on the CPU as the file or the overlay has it (any dtype): for layers that convert
  /// while they lay a weight out anew. The file's pages go back with the tensor.
  Tensor take_stored(std::string_view name, at::IntArrayRef shape) const;
  std::optional<Tensor> take_if(std::string_view name, at::IntArrayRef shape) const;
  /// As take_if, for a constant that some files carry along: no parameter, so it is not counted.
  std::optional<Tensor> take_buffer(std::string_view name, at::IntArrayRef shape) const;

  const Placement& placement() const;
  std::string path(std::string_view name = {}) const;  ///< full dotted name

 private:
  friend class WeightStore;
  Weights(WeightStore* store, std::string prefix) : store_(store), prefix_(std::move(prefix)) {}
  WeightStore* store_;
  std::string prefix_;
};

class WeightStore {
 public:
  /// `rename` maps a stored name to the name the network asks for; empty result = drop the tensor.
  using Rename = std::function<std::string(const std::string&)>;

  WeightStore(std::shared_ptr<const io::TensorFile> file, Placement placement, const Rename& rename = {});
  ~WeightStore();
  WeightStore(WeightStore&&) noexcept;
  /// A store without a file: take() always succeeds with uninitialised meta tensors, and parameter_count() tells how
  /// many parameters the network has. Proves counts of real configs without weights.
  static WeightStore shapes_only();
  /// A store that checks names and shapes against the file's header but gives meta tensors: --dry-run and `t2v info`. A
  /// missing tensor is told by expect_all_taken(), together with all others.
  static WeightStore header_only(std::shared_ptr<const io::TensorFile> file, const Rename& rename = {});

  Weights root() { return Weights(this, {}); }
  /// Weights taken from now on pass through `overlay` (shared with the model that made it; null: none) before they are
  /// converted and placed, so before any fusion or packing.
  void set_overlay(std::shared_ptr<const WeightOverlay> overlay) { overlay_ = std::move(overlay); }
  /// Names (as the network asks for them) and shapes (as stored) of everything in the file.
  std::map<std::string, std::vector<int64_t>> shapes() const;
  int64_t parameter_count() const;  ///< elements taken so far
  /// Throws Error{bad_input} listing up to 20 tensors that the file lacks, and as many of the file's that nobody took.
  /// `ignorable`: exact names or suffixes of buffers that old files carry ("position_ids").
  void expect_all_taken(const std::vector<std::string>& ignorable = {}) const;

 private:
  friend class Weights;
  WeightStore();
  enum class Mode { real, shapes_only, header_only };
  Tensor take(const std::string& name, at::IntArrayRef shape, bool is_parameter = true);
  Tensor take_stored(const std::string& name, at::IntArrayRef shape, bool is_parameter = true);
  bool has(const std::string& name) const;

  Mode mode_ = Mode::real;
  std::shared_ptr<const io::TensorFile> file_;
  std::shared_ptr<const WeightOverlay> overlay_;
  std::unique_ptr<DeviceUpload> upload_;  // null where weights stay on the CPU, or have no data
  std::map<std::string, const io::TensorView*, std::less<>> by_name_;
  std::map<std::string, std::string, std::less<>> stored_name_;
  std::set<std::string, std::less<>> taken_;
  std::vector<std::string> missing_;  // each with the shape that is wanted
  Placement placement_;
  int64_t parameter_count_ = 0;
};

/// A tensor over the file's memory (no copy); the result keeps the file alive, and gives its pages back at its end.
/// Unplaced.
Tensor as_tensor(const io::TensorView& view, std::shared_ptr<const io::TensorFile> owner);

}  // namespace t2v
