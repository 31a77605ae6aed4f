// SPDX-License-Identifier: Apache-2.0
// A restricted unpickler: a small value machine without callables. Names of Python functions and
// classes are only strings here; those that build tensors are known by name
// (torch/_weights_only_unpickler.py), every other one gives an inert value. Nothing can be
// executed, so such files still load. Time and memory are bounded by budgets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/tensor_file.hpp"

namespace t2v::io::pickle {

enum class Kind {
  none,
  boolean,
  integer,
  number,
  text,
  bytes,
  tuple,
  list,
  dict,
  set,
  global,
  object,
  storage,
  tensor
};

struct Value;
using Ref = Value*;  ///< owned by the Machine; shared freely, so a value referenced twice exists once

/// A persistent id ('storage', class, key, location, count): where a tensor's elements are kept.
struct Storage {
  std::string_view key;
  std::optional<DType> dtype;  ///< nothing: a type we lack (complex, quantised)
  int64_t count = 0;           ///< elements the pickle claims
  int64_t first = 0;           ///< elements to skip (legacy view storages)
  bool is_untyped = false;     ///< count is in bytes, the tensor names the dtype
};

struct Tensor {
  Ref storage = nullptr;
  std::optional<DType> dtype;
  int64_t offset = 0;  ///< elements
  std::vector<int64_t> shape, strides;
};

struct Value {
  Kind kind = Kind::none;
  int64_t integer = 0;
  std::string_view text;   ///< text, bytes; for global: "module name"; views of the pickle or of an arena
  std::vector<Ref> items;  ///< tuple, list, set; object: its arguments
  std::vector<std::pair<Ref, Ref>> entries;  ///< dict, object with items
  std::unique_ptr<Storage> storage;
  std::unique_ptr<Tensor> tensor;
};

/// Runs pickles one after the other over one span; values stay valid as long as the machine.
class Machine {
 public:
  /// `where` names the file in messages.
  Machine(std::span<const std::byte> bytes, std::string where);

  /// Runs up to the next STOP and gives the value. Error{bad_input} with offset and opcode.
  Ref run();
  size_t position() const { return position_; }
  const std::vector<Ref>& storages() const { return storages_; }  ///< every storage seen, in order
  int64_t unknown_globals() const { return unknown_globals_; }    ///< inert values made of unknown names
  const std::string& first_unknown() const { return first_unknown_; }

 private:
  void step(uint8_t opcode);
  bool step_container(uint8_t opcode);
  bool step_scalar(uint8_t opcode);
  bool step_memo(uint8_t opcode);

  [[noreturn]] void fail(const std::string& what) const;
  template <typename T>
  T read();
  std::string_view read_bytes(uint64_t size);
  std::string_view read_line();

  Ref make(Kind kind);
  Ref make_text(Kind kind, std::string_view text);
  Ref make_integer(Kind kind, int64_t value);
  Ref make_sequence(Kind kind, std::vector<Ref> items);
  Ref make_global(std::string_view module, std::string_view name);
  Ref make_inert(std::vector<Ref> arguments);
  void push(Ref value);
  Ref pop();
  Ref pop(Kind kind, const char* wanted);
  Ref top() const;
  std::vector<Ref> pop_to_mark();
  void remember(uint64_t index);
  void recall(uint64_t index);
  void set_items(Ref target, const std::vector<Ref>& keys_and_values);
  void append_items(Ref target, const std::vector<Ref>& values);
  void build(Ref target) const;
  Ref reduce(Ref callable, Ref arguments);
  Ref reduce_known(std::string_view name, const std::vector<Ref>& arguments);
  Ref ordered_dict(const std::vector<Ref>& arguments);
  Ref rebuild_tensor(const std::vector<Ref>& arguments, Ref dtype);
  Ref persistent(Ref id);
  std::vector<int64_t> integers(Ref tuple, const char* what) const;
  int64_t integer(Ref value, const char* what) const;

  std::span<const std::byte> bytes_;
  std::string where_;
  size_t position_ = 0, opcode_position_ = 0;
  uint8_t opcode_ = 0;
  size_t operations_ = 0, pushes_ = 0;
  std::deque<Value> values_;
  std::deque<std::string> strings_;
  std::vector<Ref> stack_;
  std::vector<size_t> marks_;
  std::vector<Ref> memo_;
  std::vector<Ref> storages_;
  Ref none_ = nullptr;
  int64_t unknown_globals_ = 0;
  std::string first_unknown_;
};

/// Where a storage's elements are: its bytes, at least count * size of them, or Error.
class StorageSource {
 public:
  virtual ~StorageSource() = default;
  virtual std::span<const std::byte> bytes_of(const Storage& storage) = 0;
};

struct NamedTensors {
  std::map<std::string, TensorView, std::less<>> tensors;
  int64_t skipped = 0;  ///< tensors of dtypes we lack
};

/// The tensors of a checkpoint's value under dotted names. A top-level "state_dict" or "model"
/// dictionary is entered. Every extent is checked against its storage. Error{bad_input}.
NamedTensors collect_tensors(Ref root, StorageSource& source, const std::string& where);

}  // namespace t2v::io::pickle
