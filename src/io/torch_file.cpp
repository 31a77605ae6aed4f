// SPDX-License-Identifier: Apache-2.0
// Files of torch.save: the zip container and the older plain sequence of pickles
// (torch/serialization.py, _save and _legacy_save).
#include <cstring>
#include <map>
#include <vector>

#include "core/log.hpp"
#include "io/formats.hpp"
#include "io/json_error.hpp"
#include "io/pickle.hpp"
#include "io/zip.hpp"

namespace t2v::io {

namespace {

using Entries = std::map<std::string, std::span<const std::byte>, std::less<>>;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Bytes that a storage of `count` elements takes; nothing when that overflows.
std::optional<int64_t> storage_bytes(const pickle::Storage& storage) {
  const int64_t shape[] = {storage.count};
  return checked_bytes(shape, dtype_size(*storage.dtype));
}

class ZipStorages final : public pickle::StorageSource {
 public:
  ZipStorages(const Entries& entries, std::string prefix, const std::string& where)
      : entries_(entries), prefix_(std::move(prefix)), where_(where) {}

  std::span<const std::byte> bytes_of(const pickle::Storage& storage) override {
    const auto it = entries_.find(prefix_ + std::string(storage.key.substr(0, 256)));
    if (it == entries_.end()) throw bad_file(where_, "no record of the storage '" + printable(storage.key, 40) + "'");
    const auto wanted = storage_bytes(storage);
    if (!wanted || *wanted > static_cast<int64_t>(it->second.size())) {
      throw bad_file(where_, "storage '" + printable(storage.key, 40) + "': wanted " + std::to_string(storage.count) +
                                 " elements of " + std::to_string(dtype_size(*storage.dtype)) +
                                 " bytes, got a record of " + std::to_string(it->second.size()) + " bytes");
    }
    return it->second.first(static_cast<size_t>(*wanted));
  }

 private:
  const Entries& entries_;
  std::string prefix_;
  const std::string& where_;
};

class LegacyStorages final : public pickle::StorageSource {
 public:
  explicit LegacyStorages(const std::string& where) : where_(where) {}

  void add(std::string_view key, std::span<const std::byte> bytes) {
    if (!storages_.emplace(key, bytes).second)
      throw bad_file(where_, "the storage '" + printable(key, 40) + "' appears twice");
  }

  std::span<const std::byte> bytes_of(const pickle::Storage& storage) override {
    const auto it = storages_.find(storage.key);
    if (it == storages_.end()) throw bad_file(where_, "no data of the storage '" + printable(storage.key, 40) + "'");
    return it->second;
  }

 private:
  std::map<std::string_view, std::span<const std::byte>> storages_;
  const std::string& where_;
};

std::shared_ptr<const TensorFile> finish(std::shared_ptr<const MmapFile> file, pickle::Machine& machine,
                                         pickle::Ref root, pickle::StorageSource& storages) {
  const std::string& where = file->path();
  auto found = pickle::collect_tensors(root, storages, where);
  if (machine.unknown_globals() > 0) {
    log::debug("{}: {} Python objects were not read, the first is {}", where, machine.unknown_globals(),
               machine.first_unknown());
  }
  if (found.skipped > 0)
    log::warn("{}: {} tensors of dtypes that are not supported are left out", where, found.skipped);
  return std::make_shared<MappedTensorFile>(std::move(file), std::move(found.tensors),
                                            std::map<std::string, std::string>{});
}

/// The folder inside the archive, with its slash: whichever holds data.pkl (torch names it after
/// the file).
std::string archive_prefix(const Entries& entries, const std::string& where) {
  std::optional<std::string> prefix;
  for (const auto& [name, bytes] : entries) {
    const size_t slash = name.find('/');
    const bool is_root = slash == name.npos ? name == "data.pkl" : name.substr(slash) == "/data.pkl";
    if (!is_root) continue;
    if (prefix) throw bad_file(where, "zip archive: two data.pkl");
    prefix = slash == name.npos ? "" : name.substr(0, slash + 1);
  }
  if (!prefix) {
    throw bad_file(where, "wanted a zip archive written by torch.save, got one without data.pkl",
                   "unpack it if it holds a model folder");
  }
  return *prefix;
}

}  // namespace

std::shared_ptr<const TensorFile> open_torch_zip(std::shared_ptr<const MmapFile> file) {
  const std::string& where = file->path();
  const Entries entries = read_zip(file->bytes(), where);
  const std::string prefix = archive_prefix(entries, where);
  const auto order = entries.find(prefix + "byteorder");
  if (order != entries.end() && as_text(order->second) != "little") {
    throw bad_file(where, "wanted little-endian data, got '" + printable(as_text(order->second), 20) + "'",
                   "save it again on a little-endian machine");
  }
  pickle::Machine machine(entries.find(prefix + "data.pkl")->second, where);
  const pickle::Ref root = machine.run();
  ZipStorages storages(entries, prefix + "data/", where);
  return finish(file, machine, root, storages);
}

std::shared_ptr<const TensorFile> open_torch_legacy(std::shared_ptr<const MmapFile> file) {
  // torch.serialization.MAGIC_NUMBER, as LONG1 writes it.
  constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
  constexpr int64_t kProtocol = 1001;
  const std::string& where = file->path();
  const auto bytes = file->bytes();
  pickle::Machine machine(bytes, where);
  const pickle::Ref magic = machine.run();
  if (magic->kind != pickle::Kind::bytes || magic->text != kMagic) {
    throw bad_file(where, "a pickle, but not one written by torch.save",
                   "save the weights with torch.save or safetensors");
  }
  if (const pickle::Ref version = machine.run();
      version->kind != pickle::Kind::integer || version->integer != kProtocol) {
    throw bad_file(where, "a torch.save protocol other than 1001");
  }
  for (const auto& [key, value] : machine.run()->entries) {  // sys_info
    if (key->text == "little_endian" && value->kind == pickle::Kind::boolean && value->integer == 0) {
      throw bad_file(where, "wanted little-endian data, got big-endian", "save it again on a little-endian machine");
    }
  }
  const pickle::Ref root = machine.run();
  const pickle::Ref keys = machine.run();

  std::map<std::string_view, int64_t> element_sizes;
  for (const pickle::Ref value : machine.storages()) {
    if (value->storage->dtype) element_sizes.emplace(value->storage->key, dtype_size(*value->storage->dtype));
  }
  LegacyStorages storages(where);
  size_t position = machine.position();
  for (const pickle::Ref key : keys->items) {
    const auto size = element_sizes.find(key->text);
    if (key->kind != pickle::Kind::text || size == element_sizes.end()) {
      throw bad_file(where, "data of a storage that no tensor names, or of a type that is not supported",
                     "load and save the file once with a current torch");
    }
    int64_t count = 0;
    if (bytes.size() - position < sizeof count)
      throw bad_file(where, "it ends before its tensors", "download the file again");
    std::memcpy(&count, bytes.data() + position, sizeof count);
    position += sizeof count;
    const int64_t shape[] = {count};
    const auto wanted = checked_bytes(shape, size->second);
    const size_t left = bytes.size() - position;
    if (!wanted || static_cast<size_t>(*wanted) > left) {
      throw bad_file(where,
                     "storage '" + printable(key->text, 40) + "': wanted " + std::to_string(count) + " elements of " +
                         std::to_string(size->second) + " bytes, got " + std::to_string(left) + " bytes of file",
                     "the download stopped early: download the file again");
    }
    storages.add(key->text, bytes.subspan(position, static_cast<size_t>(*wanted)));
    position += static_cast<size_t>(*wanted);
  }
  return finish(file, machine, root, storages);
}

}  // namespace t2v::io
