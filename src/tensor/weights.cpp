// SPDX-License-Identifier: Apache-2.0
#include "tensor/weights.hpp"

#include <algorithm>
#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/TensorOptions.h>

#include "core/text.hpp"
#include "t2v/error.hpp"
#include "tensor/device_upload.hpp"
#include "tensor/dtypes.hpp"

namespace t2v {

namespace {

/// The shape without its trailing 1s: a 1x1 convolution and a linear layer hold the same numbers.
std::vector<int64_t> without_trailing_ones(at::IntArrayRef shape) {
  std::vector<int64_t> out(shape.begin(), shape.end());
  while (out.size() > 2 && out.back() == 1) out.pop_back();
  return out;
}

int64_t element_count(at::IntArrayRef shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

/// The names, twenty at most.
std::string first_few(const std::vector<std::string>& names) {
  constexpr size_t kShown = 20;
  const std::span shown(names.data(), std::min(names.size(), kShown));
  const size_t more = names.size() - shown.size();
  return join(shown, ", ") + (more > 0 ? " and " + std::to_string(more) + " more" : "");
}

}  // namespace

Tensor as_tensor(const io::TensorView& view, std::shared_ptr<const io::TensorFile> owner) {
  const auto options = at::TensorOptions().dtype(scalar_type(view.dtype));
  // The mapping is read-only; nothing writes to a tensor that take() has not converted or copied.
  auto* data = const_cast<std::byte*>(view.bytes.data());
  // Converted or laid out anew, a weight is in memory once; the pages it came from would count twice.
  const auto give_back = [view, owner](void*) { owner->release(view); };
  if (element_count(view.shape) == 0) return at::empty(view.shape, options);
  const bool is_aligned = reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(io::dtype_size(view.dtype)) == 0;
  if (!is_aligned && view.strides.empty()) {  // writers need not pad; kernels want aligned elements
    Tensor copy = at::empty(view.shape, options);
    std::memcpy(copy.mutable_data_ptr(), data, view.bytes.size());
    owner->release(view);
    return copy;
  }
  if (view.strides.empty()) return at::from_blob(data, view.shape, give_back, options);
  return at::from_blob(data, view.shape, view.strides, give_back, options);
}

Weights Weights::at(std::string_view child) const { return Weights(store_, path(child)); }

Weights Weights::at(int64_t index) const { return Weights(store_, path(std::to_string(index))); }

std::string Weights::path(std::string_view name) const {
  if (prefix_.empty()) return std::string(name);
  if (name.empty()) return prefix_;
  return prefix_ + "." + std::string(name);
}

bool Weights::has(std::string_view name) const { return store_->has(path(name)); }

Tensor Weights::take(std::string_view name, at::IntArrayRef shape) const { return store_->take(path(name), shape); }

Tensor Weights::take_stored(std::string_view name, at::IntArrayRef shape) const {
  return store_->take_stored(path(name), shape);
}

std::optional<Tensor> Weights::take_if(std::string_view name, at::IntArrayRef shape) const {
  if (!has(name)) return std::nullopt;
  return take(name, shape);
}

std::optional<Tensor> Weights::take_buffer(std::string_view name, at::IntArrayRef shape) const {
  if (!has(name)) return std::nullopt;
  return store_->take(path(name), shape, /*is_parameter=*/false);
}

const Placement& Weights::placement() const { return store_->placement_; }

WeightStore::WeightStore(std::shared_ptr<const io::TensorFile> file, Placement placement, const Rename& rename)
    : file_(std::move(file)), placement_(placement) {
  for (const auto& [stored, view] : file_->tensors()) {
    const std::string name = rename ? rename(stored) : stored;
    if (name.empty()) continue;
    const auto [existing, inserted] = by_name_.emplace(name, &view);
    if (!inserted) {
      throw Error(ErrorCode::bad_input, "bad checkpoint: " + file_->where() + ": '" + stored + "' and '" +
                                            stored_name_[name] + "' are two names of one tensor, '" + name + "'");
    }
    stored_name_.emplace(name, stored);
  }
  if (!placement.device.is_cpu()) upload_ = std::make_unique<DeviceUpload>(upload_device(placement.device), placement);
}

WeightStore::WeightStore() = default;
WeightStore::WeightStore(WeightStore&&) noexcept = default;

WeightStore WeightStore::shapes_only() {
  WeightStore store;
  store.mode_ = Mode::shapes_only;
  return store;
}

WeightStore WeightStore::header_only(std::shared_ptr<const io::TensorFile> file, const Rename& rename) {
  WeightStore store(std::move(file), Placement{}, rename);
  store.mode_ = Mode::header_only;
  return store;
}

bool WeightStore::has(const std::string& name) const { return by_name_.contains(name); }

Tensor WeightStore::take(const std::string& name, at::IntArrayRef shape, bool is_parameter) {
  const Tensor weight = take_stored(name, shape, is_parameter);
  if (weight.is_meta()) return weight;
  return upload_ ? upload_->upload(weight) : weight.to(placement_.device, placement_.dtype);
}

Tensor WeightStore::take_stored(const std::string& name, at::IntArrayRef shape, bool is_parameter) {
  const auto meta = [&] { return at::empty(shape, at::TensorOptions().dtype(placement_.dtype).device(c10::kMeta)); };
  if (mode_ == Mode::shapes_only) {
    if (taken_.insert(name).second) parameter_count_ += element_count(shape);
    return meta();
  }
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    if (mode_ == Mode::header_only) {
      missing_.push_back(name + " " + join_ints(shape));
      return meta();
    }
    throw Error(ErrorCode::bad_input, "bad checkpoint: " + file_->where() + ": " + name + ": wanted a tensor " +
                                          join_ints(shape) + ", got none of that name");
  }
  const io::TensorView& view = *found->second;
  if (without_trailing_ones(view.shape) != without_trailing_ones(shape)) {
    throw Error(ErrorCode::bad_input, "bad checkpoint: " + file_->where() + ": " + name + ": wanted " +
                                          join_ints(shape) + ", got " + join_ints(view.shape));
  }
  if (taken_.insert(name).second && is_parameter) parameter_count_ += element_count(shape);
  if (mode_ == Mode::header_only) return meta();
  const Tensor stored = as_tensor(view, file_).reshape(shape);
  return overlay_ ? overlay_->changed(name, stored).value_or(stored) : stored;
}

WeightStore::~WeightStore() {
  if (mode_ != Mode::real || !file_) return;
  // Layers have copied what they lay out anew; what they use in place comes back from the page cache when touched.
  for (const auto& [name, view] : by_name_) file_->release(*view);
}

std::map<std::string, std::vector<int64_t>> WeightStore::shapes() const {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, view] : by_name_) shapes.emplace(name, view->shape);
  return shapes;
}

int64_t WeightStore::parameter_count() const { return parameter_count_; }

void WeightStore::expect_all_taken(const std::vector<std::string>& ignorable) const {
  std::vector<std::string> left;
  for (const auto& [name, view] : by_name_) {
    const bool ignored = std::any_of(ignorable.begin(), ignorable.end(), [&](const auto& suffix) {
      return name == suffix || name.ends_with("." + suffix);
    });
    if (!taken_.contains(name) && !ignored) left.push_back(stored_name_.at(name));
  }
  if (left.empty() && missing_.empty()) return;
  std::string message = "bad checkpoint: " + file_->where() + ": ";
  if (!missing_.empty()) message += "wanted " + first_few(missing_) + ", got none of that name";
  if (!missing_.empty() && !left.empty()) message += "; ";
  if (!left.empty())
    message += std::to_string(left.size()) + " tensors that the config does not describe: " + first_few(left);
  std::string hint = "config.json and the weights are of two different models, or of a newer version";
  if (!missing_.empty()) {
    const std::string name = missing_.front().substr(0, missing_.front().find(' '));
    if (const auto near = closest(name, left)) hint = "the file's '" + *near + "' may be '" + name + "'; else " + hint;
  }
  throw Error(ErrorCode::bad_input, message, hint);
}

}  // namespace t2v
