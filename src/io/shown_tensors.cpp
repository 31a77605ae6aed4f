// SPDX-License-Identifier: Apache-2.0
#include "io/shown_tensors.hpp"

#include <utility>

#include "core/check.hpp"
#include "io/formats.hpp"
#include "io/json_error.hpp"

namespace t2v::io {

namespace {

class ShownTensorFile final : public TensorFile {
 public:
  ShownTensorFile(std::shared_ptr<const TensorFile> file, TensorMap tensors)
      : file_(std::move(file)), tensors_(std::move(tensors)) {
    for (const auto& [name, view] : tensors_) bytes_ += static_cast<int64_t>(view.bytes.size());
  }
  const TensorMap& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return file_->metadata(); }
  std::string where() const override { return file_->where(); }
  int64_t file_bytes() const override { return bytes_; }
  void release(const TensorView& view) const override { file_->release(view); }

 private:
  std::shared_ptr<const TensorFile> file_;
  TensorMap tensors_;
  int64_t bytes_ = 0;
};

TensorView transpose_of(const TensorView& matrix, const TensorSource& source, const std::string& where) {
  if (matrix.shape.size() != 2 || !matrix.strides.empty()) {
    throw bad_file(where, "tensor '" + printable(source.stored) + "': wanted a matrix, got another shape");
  }
  TensorView turned = matrix;
  turned.shape = {matrix.shape[1], matrix.shape[0]};
  turned.strides = {1, matrix.shape[1]};
  return turned;
}

/// Rows [index * n / count, (index + 1) * n / count) of a tensor of n rows.
TensorView part_of(const TensorView& whole, const TensorSource& source, const std::string& where) {
  if (source.transposed) return transpose_of(whole, source, where);
  if (source.count == 1) return whole;
  const bool divides = !whole.shape.empty() && whole.shape[0] % source.count == 0;
  if (!divides || !whole.strides.empty()) {
    throw bad_file(where, "tensor '" + printable(source.stored) + "': wanted rows in " + std::to_string(source.count) +
                              " equal parts");
  }
  TensorView part = whole;
  part.shape[0] /= source.count;
  const size_t bytes = whole.bytes.size() / static_cast<size_t>(source.count);
  part.bytes = whole.bytes.subspan(static_cast<size_t>(source.index) * bytes, bytes);
  return part;
}

}  // namespace

std::shared_ptr<const TensorFile> show_tensors(std::shared_ptr<const TensorFile> file, const TensorNames& names) {
  TensorMap shown;
  for (const auto& [name, source] : names) {
    const auto found = file->tensors().find(source.stored);
    T2V_CHECK(found != file->tensors().end(), "a name for a tensor that the file lacks");
    shown.emplace(name, part_of(found->second, source, file->where()));
  }
  return std::make_shared<ShownTensorFile>(std::move(file), std::move(shown));
}

void show_as(TensorNames& names, const TensorFile& file, std::string shown, TensorSource source) {
  const auto [existing, inserted] = names.try_emplace(std::move(shown), source);
  if (!inserted) {
    throw bad_file(file.where(), "'" + printable(source.stored) + "' and '" + printable(existing->second.stored) +
                                     "' are two names of one tensor, '" + printable(existing->first) + "'");
  }
}

}  // namespace t2v::io
