// SPDX-License-Identifier: Apache-2.0
// The safetensors reader: the checks of the reference implementation (huggingface/safetensors,
// safetensors/src/tensor.rs, read_metadata and validate), each with a message of its own.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "core/log.hpp"
#include "core/text.hpp"
#include "io/config.hpp"
#include "io/formats.hpp"
#include "io/json_error.hpp"

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and used in place");

namespace t2v::io {

namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference's limit
constexpr size_t kMaxTensors = 100'000;            // more, and tiny, would only be an attack on memory
constexpr size_t kMaxNameBytes = 512;              // of one; readers of names are quick with names
constexpr size_t kMaxNames = 8'000'000;            // bytes of all; the largest published model's 92,000 take half
constexpr size_t kMaxRank = 32;
constexpr size_t kMaxRun = size_t{4} << 20;  // bytes without a quote; metadata of trainers is far below
constexpr const char* kDamagedHint = "the file is damaged or was not written by safetensors: download it again";

/// Bits of one element of every dtype the format knows; those that DType lacks still take part in
/// the layout checks.
int64_t dtype_bits(std::string_view name) {
  if (const auto dtype = dtype_of(name)) return 8 * dtype_size(*dtype);
  struct Row {
    std::string_view name;
    int64_t bits;
  };
  static constexpr std::array kOthers{
      Row{"U64", 64},        Row{"U32", 32},        Row{"U16", 16},    Row{"C64", 64},    Row{"F8_E8M0", 8},
      Row{"F8_E4M3FNUZ", 8}, Row{"F8_E5M2FNUZ", 8}, Row{"F6_E2M3", 6}, Row{"F6_E3M2", 6}, Row{"F4", 4},
  };
  for (const auto& row : kOthers) {
    if (row.name == name) return row.bits;
  }
  return 0;
}

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t begin = -1, end = -1;
  bool has_shape = false;
};

/// SAX handler of the header: {"name": {"dtype": s, "shape": [n...], "data_offsets": [n, n]},
/// "__metadata__": {s: s}}. Nothing but the entries is kept, so a header costs what it describes.
class HeaderReader {
 public:
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;

  bool null() { return field_ == Field::metadata && depth_ == 1 ? true : scalar("null"); }
  bool boolean(bool) { return scalar("true or false"); }
  bool number_integer(int64_t) { return scalar("a negative number"); }
  bool number_unsigned(uint64_t value) {
    if (depth_ == 3 && (field_ == Field::shape || field_ == Field::offsets)) return element(value);
    return scalar("a number");
  }
  bool number_float(double, const std::string& text) { return scalar("the number " + printable(text, 40)); }
  bool binary(Json::binary_t&) { return false; }

  bool string(std::string& value) {
    if (depth_ == 2 && field_ == Field::dtype) {
      entries.back().dtype = std::move(value);
      return true;
    }
    if (depth_ == 2 && field_ == Field::metadata) {
      if (!metadata.emplace(std::move(key_), std::move(value)).second)
        return refuse("__metadata__: a key appears twice");
      return true;
    }
    return scalar("a string");
  }

  bool start_object(size_t) {
    if (depth_ >= 2 && field_ != Field::other) return refuse(at() + ": wanted a plain value, got an object");
    return enter();
  }
  bool end_object() {
    if (--depth_ == 1 && field_ != Field::metadata) return complete();
    return true;
  }
  bool start_array(size_t) {
    if (depth_ == 0) return refuse("wanted a JSON object, got a list");
    const bool is_list_field = depth_ == 2 && (field_ == Field::shape || field_ == Field::offsets);
    if (!is_list_field && field_ != Field::other) return refuse(at() + ": got a list");
    list_.clear();
    return enter();
  }
  bool end_array() {
    if (--depth_ != 2) return true;
    Entry& entry = entries.back();
    if (field_ == Field::shape) {
      entry.shape.assign(list_.begin(), list_.end());
      entry.has_shape = true;
    } else if (field_ == Field::offsets) {
      if (list_.size() != 2) return refuse(at() + ": wanted two numbers, got " + std::to_string(list_.size()));
      entry.begin = list_[0];
      entry.end = list_[1];
    }
    return true;
  }

  bool key(std::string& name) {
    key_ = name;
    if (depth_ == 1) {
      if (name == "__metadata__") {
        field_ = Field::metadata;
        return ++metadata_count_ == 1 ? true : refuse("__metadata__ appears twice");
      }
      if (entries.size() >= kMaxTensors) return refuse("more than " + std::to_string(kMaxTensors) + " tensors");
      if (name.size() > kMaxNameBytes || (name_bytes_ += name.size()) > kMaxNames)
        return refuse("wanted tensor names of at most " + std::to_string(kMaxNameBytes) +
                      " bytes, and of 8 MB in all, got longer ones");
      field_ = Field::tensor;
      entries.emplace_back().name = std::move(name);
    } else if (depth_ == 2 && field_ != Field::metadata) {
      const Entry& entry = entries.back();
      field_ = name == "dtype"          ? Field::dtype
               : name == "shape"        ? Field::shape
               : name == "data_offsets" ? Field::offsets
                                        : Field::other;
      const bool is_repeated = (field_ == Field::dtype && !entry.dtype.empty()) ||
                               (field_ == Field::shape && entry.has_shape) ||
                               (field_ == Field::offsets && entry.begin >= 0);
      if (is_repeated) return refuse(at() + " appears twice");
    }
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const Json::exception& error) {
    problem = json_syntax_problem(position, token, error.id);
    return false;
  }

 private:
  enum class Field { tensor, metadata, dtype, shape, offsets, other };

  bool refuse(std::string what) {
    problem = std::move(what);
    return false;
  }
  bool enter() {
    if (depth_ >= 16) return refuse("nested deeper than 16 levels");
    if (depth_ == 1 && field_ == Field::tensor) field_ = Field::other;
    ++depth_;
    return true;
  }
  std::string at() const {
    if (field_ == Field::metadata) return "__metadata__: '" + printable(key_) + "'";
    const std::string tensor = entries.empty() ? "header" : "'" + printable(entries.back().name) + "'";
    return depth_ <= 1 ? tensor : tensor + ": " + printable(key_);
  }
  bool scalar(const std::string& got) {
    if (depth_ >= 2 && field_ == Field::other) return true;  // a field this version does not know
    if (depth_ == 0) return refuse("wanted a JSON object, got " + got);
    const std::string wanted = depth_ == 1                                           ? "an object"
                               : field_ == Field::metadata || field_ == Field::dtype ? "a string"
                               : depth_ == 3                                         ? "integers from 0 to 2^63-1"
                                                                                     : "a list of integers";
    return refuse(at() + ": wanted " + wanted + ", got " + got);
  }
  bool element(uint64_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return scalar(std::to_string(value));
    if (list_.size() >= kMaxRank) return refuse(at() + ": more than " + std::to_string(kMaxRank) + " numbers");
    list_.push_back(static_cast<int64_t>(value));
    return true;
  }
  bool complete() {
    const Entry& entry = entries.back();
    const char* missing = entry.dtype.empty() ? "dtype"
                          : !entry.has_shape  ? "shape"
                          : entry.begin < 0   ? "data_offsets"
                                              : nullptr;
    return missing ? refuse("'" + printable(entry.name) + "': no " + missing) : true;
  }

  int depth_ = 0;
  int metadata_count_ = 0;
  size_t name_bytes_ = 0;
  Field field_ = Field::tensor;
  std::string key_;
  std::vector<int64_t> list_;
};

/// The header's text, after the checks on its length.
std::string_view header_of(const MmapFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < 8) {
    throw bad_file(file.path(), "header too small: wanted at least 8 bytes, got " + std::to_string(bytes.size()),
                   "download the file again");
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeaderBytes) {
    throw bad_file(
        file.path(),
        "not a safetensors file: wanted a header of at most 100000000 bytes, got a length of " + std::to_string(length),
        "the file has another format, or is damaged");
  }
  if (length > bytes.size() - 8) {
    throw bad_file(file.path(),
                   "header past the end of the file: wanted " + std::to_string(length + 8) + " bytes, got " +
                       std::to_string(bytes.size()) + ": " + std::to_string(length + 8 - bytes.size()) +
                       " bytes or more are missing",
                   "the download stopped early: download the file again");
  }
  return {reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<size_t>(length)};
}

/// Refuses what would make the parser collect a huge string, before it does. Quotes inside a string
/// end a run as well: what is counted is never longer than the string. Pages that were looked at are
/// given back, so that a header is not held in memory only to be refused.
void check_runs(std::string_view text, const std::string& where) {
  constexpr size_t kPageful = size_t{1} << 20;
  for (size_t begin = 0, kept = 0; begin < text.size();) {
    const std::string_view rest = text.substr(begin, kMaxRun);
    const std::string_view run = rest.substr(0, rest.find('"'));
    if (run.size() == kMaxRun && run.find_first_not_of(" \t\r\n") != run.npos) {
      throw bad_file(where,
                     "header: wanted strings of less than " + std::to_string(kMaxRun) + " bytes, got a longer one",
                     kDamagedHint);
    }
    if (run.find('\0') != run.npos) throw bad_file(where, "header: a NUL byte", kDamagedHint);
    begin += run.size() + (run.size() < rest.size() ? 1 : 0);
    if (begin - kept >= kPageful) {
      MmapFile::release(std::as_bytes(std::span(text.substr(kept, begin - kept))));
      kept = begin;
    }
  }
}

void parse_header(std::string_view text, const std::string& where, HeaderReader& reader) {
  check_runs(text, where);
  if (!Json::sax_parse(text.data(), text.data() + text.size(), &reader)) {
    throw bad_file(where, "header: " + reader.problem, kDamagedHint);
  }
}

/// Bytes of one tensor; the product is checked before anything is compared with it.
int64_t entry_bytes(const Entry& entry, const std::string& where) {
  const std::string name = "'" + printable(entry.name) + "'";
  const int64_t bits = dtype_bits(entry.dtype);
  if (bits == 0) {
    throw bad_file(where, name + ": unknown dtype '" + printable(entry.dtype, 40) + "'", kDamagedHint);
  }
  const auto total = checked_bytes(entry.shape, bits);
  if (!total) throw bad_file(where, name + ": the shape " + join_ints(entry.shape) + " overflows", kDamagedHint);
  if (*total % 8 != 0) {
    throw bad_file(where, name + ": " + std::to_string(*total) + " bits of " + entry.dtype + " end inside a byte",
                   kDamagedHint);
  }
  return *total / 8;
}

/// Tensors must follow each other without hole or overlap and fill the data exactly.
void check_layout(std::vector<Entry>& entries, int64_t data_bytes, const std::string& where) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  int64_t position = 0;
  for (const auto& entry : entries) {
    const std::string name = "'" + printable(entry.name) + "'";
    const std::string offsets = "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
    if (entry.begin != position || entry.end < entry.begin) {
      const std::string kind = entry.end < entry.begin  ? "reversed"
                               : entry.begin < position ? "overlapping"
                                                        : "leaving a hole";
      throw bad_file(
          where, name + ": " + kind + " offsets: wanted a start at " + std::to_string(position) + ", got " + offsets,
          kDamagedHint);
    }
    const int64_t bytes = entry_bytes(entry, where);
    if (entry.end - entry.begin != bytes) {
      throw bad_file(where,
                     name + ": shape " + join_ints(entry.shape) + " " + entry.dtype + " wants " +
                         std::to_string(bytes) + " bytes, got offsets " + offsets,
                     kDamagedHint);
    }
    position = entry.end;
  }
  if (position > data_bytes) {
    throw bad_file(where,
                   "wanted " + std::to_string(position) + " bytes of tensors, got " + std::to_string(data_bytes) +
                       ": " + std::to_string(position - data_bytes) + " bytes are missing",
                   "the download stopped early: download the file again");
  }
  if (position < data_bytes) {
    throw bad_file(where, std::to_string(data_bytes - position) + " trailing bytes after the last tensor",
                   "load and save the file once with the safetensors library to drop them");
  }
}

}  // namespace

std::shared_ptr<const TensorFile> open_safetensors(std::shared_ptr<const MmapFile> file) {
  const std::string where = file->path();
  const std::string_view header = header_of(*file);
  HeaderReader reader;
  parse_header(header, where, reader);
  const auto data = file->bytes().subspan(8 + header.size());
  check_layout(reader.entries, static_cast<int64_t>(data.size()), where);

  TensorMap tensors;
  std::vector<std::string> unsupported;
  for (auto& entry : reader.entries) {
    const auto dtype = dtype_of(entry.dtype);
    const auto bytes = data.subspan(static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin));
    // A tensor of a dtype we lack gets a row as well, so that its name can't appear twice.
    const auto [it, is_new] =
        tensors.emplace(entry.name, TensorView{dtype.value_or(DType::u8), std::move(entry.shape), {}, bytes});
    if (!is_new)
      throw bad_file(where, "header: the tensor '" + printable(entry.name) + "' appears twice", kDamagedHint);
    if (!dtype) unsupported.push_back(entry.name);
  }
  for (const auto& name : unsupported) tensors.erase(name);
  if (!unsupported.empty()) {
    log::warn("{}: {} tensors of dtypes that are not supported are left out, the first is '{}'", where,
              unsupported.size(), printable(unsupported.front()));
  }
  return std::make_shared<MappedTensorFile>(std::move(file), std::move(tensors), std::move(reader.metadata));
}

}  // namespace t2v::io
