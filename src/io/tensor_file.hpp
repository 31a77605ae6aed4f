// SPDX-License-Identifier: Apache-2.0
// Named tensors in a file, without libtorch: what safetensors files, PyTorch checkpoints and shard sets have in common.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace t2v::io {

enum class DType { f64, f32, f16, bf16, f8_e4m3, f8_e5m2, i64, i32, i16, i8, u8, boolean };
std::string_view dtype_name(DType);  ///< safetensors spelling: "F32"
int64_t dtype_size(DType);           ///< bytes of one element

/// A read-only view of one tensor. `strides` (in elements) is empty for a contiguous tensor. `bytes` covers the extent
/// that shape and strides reach, starts at element 0, and lives as long as the TensorFile.
struct TensorView {
  DType dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  std::span<const std::byte> bytes;
};

/// The tensors of one component: a single file or a set of shards. Immutable after opening; safe to share.
class TensorFile {
 public:
  virtual ~TensorFile() = default;
  /// Sorted by name. Names are unique.
  virtual const std::map<std::string, TensorView, std::less<>>& tensors() const = 0;
  virtual const std::map<std::string, std::string>& metadata() const = 0;  ///< safetensors __metadata__
  virtual std::string where() const = 0;                                   ///< file (or index) name for messages
  virtual int64_t file_bytes() const = 0;
  /// Gives the memory of a view's pages back to the system; they are read again from the file when touched.
  virtual void release(const TensorView& view) const = 0;
};

/// Opens one file by content, never by extension: safetensors, or a PyTorch zip/pickle. Git-LFS pointers,
/// half-downloaded and foreign files get their own message (Error{bad_input}).
std::shared_ptr<const TensorFile> open_tensor_file(const std::filesystem::path& file);

/// Opens `<stem>.safetensors.index.json` (or its variant form): all shards, checked against weight_map.
std::shared_ptr<const TensorFile> open_sharded(const std::filesystem::path& index_file);

/// Writes contiguous tensors and metadata as safetensors, atomically (temp file, fsync, rename). Error{output}.
struct NamedTensor {
  std::string name;
  TensorView view;
};
void write_safetensors(const std::filesystem::path& file, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace t2v::io
