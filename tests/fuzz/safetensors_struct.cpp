// SPDX-License-Identifier: Apache-2.0
// Headers put together from decisions, mostly sound, each part now and then wrong. A second, naive
// implementation of the format's rules in 128 bits must come to the same verdict as the reader.
#include <map>
#include <set>
#include <vector>

#include "fuzz_support.hpp"
#include "support/made_files.hpp"

namespace {

using t2v::fuzz::Source;

struct Tensor {
  std::string name, dtype;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;
};

const std::map<std::string, int> kBits{{"F32", 32}, {"F16", 16}, {"BF16", 16}, {"F64", 64}, {"I64", 64},   {"I32", 32},
                                       {"U8", 8},   {"BOOL", 8}, {"U64", 64},  {"F4", 4},   {"F6_E2M3", 6}};

/// Bits of a tensor, or -1 where they pass 63 bits. A size of 0 makes the tensor empty but does not
/// excuse the others: whoever computes strides from them would overflow.
__int128 bits_of(const Tensor& tensor) {
  const auto row = kBits.find(tensor.dtype);
  if (row == kBits.end()) return -1;
  __int128 bits = row->second;
  bool is_empty = false;
  for (const uint64_t size : tensor.shape) {
    if (size > static_cast<uint64_t>(INT64_MAX)) return -1;
    if (size == 0) is_empty = true;
    if (size > 0) bits *= static_cast<__int128>(size);
    if (bits > INT64_MAX) return -1;
  }
  return is_empty ? 0 : bits;
}

bool is_sound(std::vector<Tensor> tensors, size_t data_bytes) {
  std::set<std::string> names;
  for (const Tensor& tensor : tensors) {
    if (!names.insert(tensor.name).second) return false;
    if (tensor.begin > tensor.end || tensor.end > static_cast<uint64_t>(INT64_MAX)) return false;
    const __int128 bits = bits_of(tensor);
    if (bits < 0 || bits % 8 != 0 || bits / 8 != static_cast<__int128>(tensor.end - tensor.begin)) return false;
  }
  std::ranges::sort(
      tensors, [](const Tensor& a, const Tensor& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t position = 0;
  for (const Tensor& tensor : tensors) {
    if (tensor.begin != position) return false;
    position = tensor.end;
  }
  return position == data_bytes;
}

std::string space(Source& source) { return source.one_in(16) ? " \n\t" : ""; }

std::string header_of(Source& source, const std::vector<Tensor>& tensors) {
  std::string out = space(source) + "{";
  if (source.one_in(4)) out += R"("__metadata__":{"format":"pt"})";
  for (const Tensor& tensor : tensors) {
    std::string shape;
    for (const uint64_t size : tensor.shape) shape += (shape.empty() ? "" : ",") + std::to_string(size);
    out += (out.ends_with('{') ? "\"" : ",\"") + tensor.name + "\":{\"dtype\":\"" + tensor.dtype + "\"," +
           space(source) + "\"shape\":[" + shape + "],\"data_offsets\":[" + std::to_string(tensor.begin) + "," +
           std::to_string(tensor.end) + "]}";
  }
  return out + "}" + space(source);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Source source(data, size);
  std::vector<Tensor> tensors(source.below(6));
  uint64_t position = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    Tensor& tensor = tensors[i];
    tensor.name = "t" + std::to_string(source.one_in(16) ? 0 : i);
    auto dtype = kBits.begin();
    std::advance(dtype, source.below(kBits.size()));
    tensor.dtype = source.one_in(32) ? "Q8" : dtype->first;
    tensor.shape.resize(source.below(5));
    for (uint64_t& length : tensor.shape) length = source.number();
    const __int128 bits = bits_of(tensor);
    const bool is_small = bits >= 0 && bits < 8 * 65536;
    tensor.begin = source.one_in(16) ? source.number() : position;
    tensor.end = source.one_in(16) ? source.number()
                                   : tensor.begin + (is_small ? static_cast<uint64_t>(bits / 8) : source.number());
    position = tensor.end;
  }
  const size_t sound_bytes = position < 400'000 ? static_cast<size_t>(position) : 64;
  const size_t data_bytes = source.one_in(16) ? source.below(256) : sound_bytes;
  const std::string file = t2v::test::safetensors_bytes(header_of(source, tensors), std::string(data_bytes, 'x'));
  bool is_accepted = false;
  t2v::fuzz::expect_clean([&] {
    t2v::fuzz::open_and_touch(reinterpret_cast<const uint8_t*>(file.data()), file.size());
    is_accepted = true;
  });
  t2v::fuzz::require(is_accepted == is_sound(tensors, data_bytes));
  return 0;
}
