// SPDX-License-Identifier: Apache-2.0
// The readers behind open_tensor_file(), one a format, and what they share. Each takes a mapped
// file whose kind is known.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "io/mmap_file.hpp"
#include "io/tensor_file.hpp"
#include "t2v/error.hpp"

namespace t2v::io {

using TensorMap = std::map<std::string, TensorView, std::less<>>;

/// The tensors of one mapped file, whatever its format.
class MappedTensorFile final : public TensorFile {
 public:
  MappedTensorFile(std::shared_ptr<const MmapFile> file, TensorMap tensors, std::map<std::string, std::string> metadata)
      : file_(std::move(file)), tensors_(std::move(tensors)), metadata_(std::move(metadata)) {}
  const TensorMap& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string where() const override { return file_->path(); }
  int64_t file_bytes() const override { return static_cast<int64_t>(file_->bytes().size()); }
  void release(const TensorView& view) const override { file_->release(view.bytes); }

 private:
  std::shared_ptr<const MmapFile> file_;  // shared with nobody else after opening; keeps the views alive
  TensorMap tensors_;
  std::map<std::string, std::string> metadata_;
};

std::shared_ptr<const TensorFile> open_safetensors(std::shared_ptr<const MmapFile> file);
/// torch.save since 1.6: a zip archive with <folder>/data.pkl and <folder>/data/<key>.
std::shared_ptr<const TensorFile> open_torch_zip(std::shared_ptr<const MmapFile> file);
/// torch.save before 1.6: pickles one after the other, then the storages.
std::shared_ptr<const TensorFile> open_torch_legacy(std::shared_ptr<const MmapFile> file);

/// The dtype of a safetensors spelling, or nothing.
std::optional<DType> dtype_of(std::string_view safetensors_name);

/// Product of the dimensions times element_size, or nothing when it leaves int64_t or a dimension
/// is negative.
std::optional<int64_t> checked_bytes(std::span<const int64_t> shape, int64_t element_size);

/// Error{bad_input} "bad tensor file: <file>: <what>".
Error bad_file(const std::string& where, const std::string& what, std::string hint = {});

}  // namespace t2v::io
