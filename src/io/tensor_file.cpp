// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_file.hpp"

#include <array>
#include <cctype>
#include <cstring>
#include <utility>

#include "core/check.hpp"
#include "io/formats.hpp"
#include "io/json_error.hpp"

namespace t2v::io {

namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  int64_t size;
};
constexpr std::array kDTypes{
    DTypeRow{DType::f64, "F64", 8},   DTypeRow{DType::f32, "F32", 4},         DTypeRow{DType::f16, "F16", 2},
    DTypeRow{DType::bf16, "BF16", 2}, DTypeRow{DType::f8_e4m3, "F8_E4M3", 1}, DTypeRow{DType::f8_e5m2, "F8_E5M2", 1},
    DTypeRow{DType::i64, "I64", 8},   DTypeRow{DType::i32, "I32", 4},         DTypeRow{DType::i16, "I16", 2},
    DTypeRow{DType::i8, "I8", 1},     DTypeRow{DType::u8, "U8", 1},           DTypeRow{DType::boolean, "BOOL", 1},
};

const DTypeRow& row_of(DType dtype) {
  for (const auto& row : kDTypes) {
    if (row.dtype == dtype) return row;
  }
  T2V_CHECK(false, "a dtype without a row");
}

constexpr const char* kDownloadHint = "download the file again";

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool starts_with_no_case(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(text[i])) != lower[i]) return false;
  }
  return true;
}

/// Files that are no tensor files at all but turn up under their names.
void refuse_foreign(const std::string& where, std::string_view text) {
  std::string_view start = text.substr(0, 512);
  if (start.starts_with("version https://git-lfs")) {
    throw bad_file(where, "wanted tensors, got a Git-LFS pointer: the real file was never fetched",
                   "run 'git lfs pull' in the model folder, or download the file itself");
  }
  if (start.starts_with("# xet version")) {
    throw bad_file(where, "wanted tensors, got a Xet pointer: the real file was never fetched",
                   "download the file itself");
  }
  while (!start.empty() && std::isspace(static_cast<unsigned char>(start.front()))) start.remove_prefix(1);
  for (const auto tag : {"<!doctype html", "<html", "<?xml", "<head", "<body"}) {
    if (starts_with_no_case(start, tag)) {
      throw bad_file(where, "wanted tensors, got a web page (an error page saved by a download?)",
                     "download the file again, signed in if the model asks for it");
    }
  }
  if (start.starts_with("GGUF")) {
    throw bad_file(where, "wanted safetensors or a PyTorch checkpoint, got a GGUF file",
                   "use the safetensors files of this model");
  }
  if (start.starts_with("\x89HDF")) {
    throw bad_file(where, "wanted safetensors or a PyTorch checkpoint, got an HDF5 file",
                   "use the safetensors files of this model");
  }
  if (text.size() > 262 && text.substr(257, 5) == "ustar") {
    throw bad_file(where, "wanted safetensors or a PyTorch checkpoint, got a tar archive",
                   "unpack it; a PyTorch checkpoint from before 0.1.10 must be saved again with a "
                   "current torch");
  }
  if (start.starts_with("{") && text.find('\0') == text.npos) {
    throw bad_file(where, "wanted tensors, got a JSON text",
                   "an index of shards is named *.safetensors.index.json or *.bin.index.json");
  }
}

}  // namespace

std::string_view dtype_name(DType dtype) { return row_of(dtype).name; }
int64_t dtype_size(DType dtype) { return row_of(dtype).size; }

std::optional<DType> dtype_of(std::string_view safetensors_name) {
  for (const auto& row : kDTypes) {
    if (row.name == safetensors_name) return row.dtype;
  }
  return std::nullopt;
}

std::optional<int64_t> checked_bytes(std::span<const int64_t> shape, int64_t element_size) {
  int64_t bytes = element_size;
  bool is_empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) is_empty = true;
    if (size > 0 && __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return is_empty ? 0 : bytes;
}

Error bad_file(const std::string& where, const std::string& what, std::string hint) {
  return Error(ErrorCode::bad_input, "bad tensor file: " + where + ": " + what, std::move(hint));
}

std::shared_ptr<const TensorFile> open_tensor_file(const std::filesystem::path& file) {
  auto mapped = MmapFile::open(file);
  const std::string_view text = as_text(mapped->bytes());
  if (text.empty()) throw bad_file(mapped->path(), "wanted tensors, got an empty file", kDownloadHint);
  if (text.starts_with("PK\x03\x04") || text.starts_with("PK\x05\x06")) return open_torch_zip(std::move(mapped));
  // PROTO and its version; a safetensors header of such a length would start with '{' or a space at
  // byte 8.
  if (text.size() > 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5 &&
      !(text.size() > 8 && (text[8] == '{' || text[8] == ' '))) {
    return open_torch_legacy(std::move(mapped));
  }
  refuse_foreign(mapped->path(), text);
  return open_safetensors(std::move(mapped));
}

}  // namespace t2v::io
