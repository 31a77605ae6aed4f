// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <vector>

#include "core/check.hpp"
#include "core/text.hpp"
#include "io/atomic_file.hpp"
#include "io/config.hpp"
#include "io/formats.hpp"

namespace t2v::io {

namespace {

std::string quoted(const std::string& text) { return Json(replace_invalid_utf8(text)).dump(); }

}  // namespace

void write_safetensors(const std::filesystem::path& file, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Wide dtypes first, then by name: every tensor is aligned to its element size, and equal content
  // gives equal files.
  std::vector<const NamedTensor*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    const int64_t a_size = dtype_size(a->view.dtype), b_size = dtype_size(b->view.dtype);
    return a_size != b_size ? a_size > b_size : a->name < b->name;
  });

  std::set<std::string_view> names;
  for (const auto& tensor : tensors) T2V_CHECK(names.insert(tensor.name).second, "a tensor name is used twice");

  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (header.back() != '{') header += ',';
      header += quoted(key) + ":" + quoted(value);
    }
    header += "}";
  }
  int64_t position = 0;
  for (const auto* tensor : order) {
    const auto& view = tensor->view;
    const auto bytes = checked_bytes(view.shape, dtype_size(view.dtype));
    T2V_CHECK(view.strides.empty(), "write_safetensors takes contiguous tensors");
    T2V_CHECK(bytes && *bytes == static_cast<int64_t>(view.bytes.size()), "a tensor's bytes differ from its shape");
    if (header.back() != '{') header += ',';
    header += quoted(tensor->name) + ":{\"dtype\":\"" + std::string(dtype_name(view.dtype)) + "\",\"shape\":[";
    for (size_t i = 0; i < view.shape.size(); ++i) {
      header += (i > 0 ? "," : "") + std::to_string(view.shape[i]);
    }
    header += "],\"data_offsets\":[" + std::to_string(position) + "," + std::to_string(position + *bytes) + "]}";
    position += *bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  AtomicFile out(file, IfExists::replace);
  const uint64_t length = header.size();
  out.write(std::as_bytes(std::span(&length, 1)));
  out.write(header);
  for (const auto* tensor : order) out.write(tensor->view.bytes);
  out.commit();
}

}  // namespace t2v::io
