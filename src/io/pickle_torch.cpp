// SPDX-License-Identifier: Apache-2.0
// What torch.save's names mean (torch/_utils.py, torch/_weights_only_unpickler.py, torch 2.11), and
// the way from a checkpoint's value to named tensors.
#include <algorithm>
#include <array>
#include <utility>

#include "core/text.hpp"
#include "io/formats.hpp"
#include "io/json_error.hpp"
#include "io/pickle.hpp"

namespace t2v::io::pickle {

namespace {

constexpr size_t kMaxRank = 32;
constexpr size_t kMaxTensors = 100'000;
constexpr size_t kMaxVisits = 2'000'000;
constexpr int kMaxDepth = 32;
constexpr size_t kMaxTensorName = 512;
// A view may repeat elements (expand), but must not turn a few bytes into gigabytes for whoever
// copies it.
constexpr int64_t kMaxRepeated = int64_t{1} << 20;

struct TorchType {
  std::string_view storage_class, dtype_name;
  DType dtype;
};
constexpr std::array kTypes{
    TorchType{"FloatStorage", "float32", DType::f32},      TorchType{"HalfStorage", "float16", DType::f16},
    TorchType{"BFloat16Storage", "bfloat16", DType::bf16}, TorchType{"DoubleStorage", "float64", DType::f64},
    TorchType{"LongStorage", "int64", DType::i64},         TorchType{"IntStorage", "int32", DType::i32},
    TorchType{"ShortStorage", "int16", DType::i16},        TorchType{"CharStorage", "int8", DType::i8},
    TorchType{"ByteStorage", "uint8", DType::u8},          TorchType{"BoolStorage", "bool", DType::boolean},
    TorchType{"", "float8_e4m3fn", DType::f8_e4m3},        TorchType{"", "float8_e5m2", DType::f8_e5m2},
};

std::string_view last_part(std::string_view dotted) { return dotted.substr(dotted.rfind('.') + 1); }

std::optional<DType> dtype_of_global(std::string_view name) {
  if (!name.starts_with("torch.")) return std::nullopt;
  for (const auto& type : kTypes) {
    if (last_part(name) == type.dtype_name) return type.dtype;
  }
  return std::nullopt;
}

}  // namespace

int64_t Machine::integer(Ref value, const char* what) const {
  if (value->kind != Kind::integer) fail(std::string("wanted an integer as ") + what);
  return value->integer;
}

std::vector<int64_t> Machine::integers(Ref tuple, const char* what) const {
  if (tuple->kind != Kind::tuple && tuple->kind != Kind::list) fail(std::string("wanted a tuple as ") + what);
  if (tuple->items.size() > kMaxRank) fail(std::string(what) + " has more than 32 dimensions");
  std::vector<int64_t> out;
  for (const Ref item : tuple->items) out.push_back(integer(item, what));
  return out;
}

Ref Machine::reduce(Ref callable, Ref arguments) {
  if (callable->kind == Kind::object) return make_inert(arguments->items);
  if (callable->kind != Kind::global) fail("wanted a class or function to call, got something else");
  if (const Ref value = reduce_known(callable->text, arguments->items)) return value;
  if (unknown_globals_++ == 0) first_unknown_ = printable(callable->text, 80);
  return make_inert(arguments->items);
}

/// The value of a call that torch.save writes, or null for a name that is not known.
Ref Machine::reduce_known(std::string_view name, const std::vector<Ref>& arguments) {
  const auto need = [&](size_t count) {
    if (arguments.size() < count) fail(printable(name) + " with " + std::to_string(arguments.size()) + " arguments");
  };
  if (name == "collections.OrderedDict") return ordered_dict(arguments);
  if (name == "torch._utils._rebuild_tensor" || name == "torch._utils._rebuild_tensor_v2") {
    need(4);
    return rebuild_tensor(arguments, nullptr);
  }
  if (name == "torch._utils._rebuild_tensor_v3") {
    need(7);
    return rebuild_tensor(arguments, arguments[6]);
  }
  if (name == "torch._utils._rebuild_parameter" || name == "torch._utils._rebuild_parameter_with_state") {
    need(1);
    return arguments[0];
  }
  if (name == "torch.Size") {
    need(1);
    return arguments[0];
  }
  if (name == "torch._tensor._rebuild_from_type_v2") {  // (function, class, arguments, state)
    need(3);
    if (arguments[0]->kind != Kind::global || arguments[2]->kind != Kind::tuple) fail("a bad tensor subclass");
    // Called by itself it would recurse as deep as a file asks.
    if (arguments[0]->text == name) fail("a tensor subclass inside a tensor subclass");
    return reduce_known(arguments[0]->text, arguments[2]->items);
  }
  return nullptr;
}

Ref Machine::ordered_dict(const std::vector<Ref>& arguments) {
  const Ref dict = make(Kind::dict);
  if (arguments.empty()) return dict;
  // Python 2 wrote OrderedDict([[key, value], ...]).
  for (const Ref pair : arguments[0]->items) {
    if (pair->items.size() != 2) fail("an OrderedDict of something that is not pairs");
    dict->entries.emplace_back(pair->items[0], pair->items[1]);
  }
  return dict;
}

Ref Machine::rebuild_tensor(const std::vector<Ref>& arguments, Ref dtype) {
  if (arguments[0]->kind != Kind::storage) fail("a tensor without a storage");
  const Ref value = make(Kind::tensor);
  value->tensor = std::make_unique<Tensor>();
  Tensor& tensor = *value->tensor;
  tensor.storage = arguments[0];
  tensor.dtype = arguments[0]->storage->dtype;
  if (dtype) {
    if (dtype->kind != Kind::global) fail("wanted a torch.dtype");
    tensor.dtype = dtype_of_global(dtype->text);
  }
  tensor.offset = integer(arguments[1], "a tensor's offset");
  tensor.shape = integers(arguments[2], "a tensor's shape");
  tensor.strides = integers(arguments[3], "a tensor's strides");
  if (tensor.shape.size() != tensor.strides.size()) fail("a shape and strides of different length");
  return value;
}

Ref Machine::persistent(Ref id) {
  const bool is_storage = id->kind == Kind::tuple && id->items.size() >= 5 && id->items[0]->kind == Kind::text &&
                          id->items[0]->text == "storage";
  if (!is_storage) return make_inert({id});
  const auto& items = id->items;
  if (items[1]->kind != Kind::global || items[2]->kind != Kind::text) fail("a storage without class or key");
  const Ref value = make(Kind::storage);
  value->storage = std::make_unique<Storage>();
  Storage& storage = *value->storage;
  storage.key = items[2]->text;
  storage.count = integer(items[4], "a storage's size");
  if (storage.count < 0) fail("a storage of negative size");
  const auto class_name = last_part(items[1]->text);
  for (const auto& type : kTypes) {
    if (!type.storage_class.empty() && class_name == type.storage_class) storage.dtype = type.dtype;
  }
  if (class_name == "UntypedStorage") {
    storage.dtype = DType::u8;
    storage.is_untyped = true;
  }
  if (items.size() > 5 && items[5]->kind == Kind::tuple) {  // legacy: (view key, offset, size)
    const auto& view = items[5]->items;
    if (view.size() != 3) fail("a bad storage view");
    storage.first = integer(view[1], "a storage view's offset");
    if (storage.first < 0) fail("a storage view before its storage");
  }
  storages_.push_back(value);
  return value;
}

namespace {

class Collector {
 public:
  Collector(StorageSource& source, const std::string& where) : source_(source), where_(where) {}

  void visit(Ref value, const std::string& name) {
    if (++visits_ > kMaxVisits) throw bad_file(where_, "more than " + std::to_string(kMaxVisits) + " values");
    if (value->kind == Kind::tensor) return add(*value->tensor, name);
    const bool is_container = value->kind == Kind::dict || value->kind == Kind::object || value->kind == Kind::list ||
                              value->kind == Kind::tuple;
    // A value inside itself (a cycle) holds nothing new.
    if (!is_container || std::find(path_.begin(), path_.end(), value) != path_.end()) return;
    if (path_.size() >= kMaxDepth) throw bad_file(where_, "values nested deeper than 32 levels");
    path_.push_back(value);
    const std::string prefix = name.empty() ? "" : name + ".";
    if (value->kind != Kind::object) {
      for (size_t i = 0; i < value->items.size(); ++i) visit(value->items[i], prefix + std::to_string(i));
    }
    for (const auto& [key, item] : value->entries) {
      if (key->kind == Kind::text) {
        if (prefix.size() + key->text.size() > kMaxTensorName)
          throw bad_file(where_, "a tensor name of more than 512 bytes");
        visit(item, prefix + std::string(key->text));
      } else if (key->kind == Kind::integer) {
        visit(item, prefix + std::to_string(key->integer));
      }
    }
    path_.pop_back();
  }

  NamedTensors take() { return std::move(found_); }

 private:
  Error fail(const std::string& name, const std::string& what) const {
    return bad_file(where_, "'" + printable(name) + "': " + what, "the file is damaged: download it again");
  }

  void add(const Tensor& tensor, const std::string& name) {
    const Storage& storage = *tensor.storage->storage;
    if (!tensor.dtype || !storage.dtype) {
      ++found_.skipped;
      return;
    }
    if (found_.tensors.size() >= kMaxTensors)
      throw bad_file(where_, "more than " + std::to_string(kMaxTensors) + " tensors");
    if (!found_.tensors.emplace(name, view_of(tensor, storage, name)).second)
      throw fail(name, "two tensors of this name");
  }

  TensorView view_of(const Tensor& tensor, const Storage& storage, const std::string& name) const {
    const int64_t element = dtype_size(*tensor.dtype);
    const auto total = checked_bytes(tensor.shape, element);
    if (!total) throw fail(name, "the shape " + join_ints(tensor.shape) + " overflows or is negative");
    const bool is_negative =
        tensor.offset < 0 || std::any_of(tensor.strides.begin(), tensor.strides.end(), [](int64_t s) { return s < 0; });
    if (is_negative) throw fail(name, "a negative offset or stride");
    TensorView view{*tensor.dtype, tensor.shape, {}, {}};
    if (*total == 0) return view;

    const auto bytes = source_.bytes_of(storage);
    const int64_t available = static_cast<int64_t>(bytes.size()) / element;
    // In 128 bits: offset and strides are any numbers of the file.
    __int128 last = 0;
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      last += static_cast<__int128>(tensor.shape[i] - 1) * tensor.strides[i];
    }
    const __int128 begin = static_cast<__int128>(tensor.offset) + storage.first;
    if (begin + last >= available) {
      throw fail(name, "shape " + join_ints(tensor.shape) + " with strides " + join_ints(tensor.strides) +
                           " and offset " + std::to_string(tensor.offset) + " reaches past its storage of " +
                           std::to_string(available) + " elements");
    }
    if (*total / element > std::max(available, kMaxRepeated)) {
      throw fail(name, "shape " + join_ints(tensor.shape) + " repeats a storage of " + std::to_string(available) +
                           " elements");
    }
    view.bytes = bytes.subspan(static_cast<size_t>(begin) * static_cast<size_t>(element),
                               static_cast<size_t>(last + 1) * static_cast<size_t>(element));
    if (!is_contiguous(tensor)) view.strides = tensor.strides;
    return view;
  }

  static bool is_contiguous(const Tensor& tensor) {
    int64_t expected = 1;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
      expected *= tensor.shape[i];
    }
    return true;
  }

  StorageSource& source_;
  const std::string& where_;
  NamedTensors found_;
  std::vector<Ref> path_;
  size_t visits_ = 0;
};

/// The value of `key` when it is a dictionary, else null.
Ref member(Ref dict, std::string_view key) {
  for (const auto& [name, value] : dict->entries) {
    if (name->kind == Kind::text && name->text == key && value->kind == Kind::dict) return value;
  }
  return nullptr;
}

}  // namespace

NamedTensors collect_tensors(Ref root, StorageSource& source, const std::string& where) {
  // Trainers wrap the weights: {"state_dict": ...} (Lightning), {"model": ...}.
  for (const auto wrapper : {"state_dict", "model_state_dict", "model"}) {
    if (const Ref inner = member(root, wrapper)) {
      root = inner;
      break;
    }
  }
  Collector collector(source, where);
  collector.visit(root, root->kind == Kind::tensor ? "tensor" : "");
  NamedTensors found = collector.take();
  if (found.tensors.empty() && found.skipped == 0) {
    throw bad_file(where, "wanted a dictionary of tensors, got a checkpoint without any",
                   "a whole pickled model can't be read: save its state_dict() instead");
  }
  return found;
}

}  // namespace t2v::io::pickle
