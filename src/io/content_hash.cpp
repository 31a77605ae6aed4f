// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/mmap_file.hpp"
#include "io/sha256.hpp"
#include "io/shard_index.hpp"

namespace t2v::io {

namespace {

namespace fs = std::filesystem;

// A file up to this size is hashed whole; of a larger one, samples spread evenly (256 x 4 KiB: one
// page each).
constexpr size_t kWholeBytes = size_t{16} << 20;
constexpr size_t kSamples = 256, kSampleBytes = 4096;

void hash_number(Sha256& hash, uint64_t number) { hash.update(std::to_string(number) + ";"); }

void hash_bytes(Sha256& hash, const fs::path& file) {
  const auto mapped = MmapFile::open(file, MmapFile::Access::random);
  const auto bytes = mapped->bytes();
  hash_number(hash, bytes.size());
  if (bytes.size() <= kWholeBytes) {
    mapped->advise(MmapFile::Access::sequential);
    hash.update(bytes);
    return;
  }
  const size_t stride = (bytes.size() - kSampleBytes) / (kSamples - 1);
  for (size_t i = 0; i < kSamples; ++i) hash.update(bytes.subspan(i * stride, kSampleBytes));
}

void hash_file(Sha256& hash, const fs::path& file) {
  hash.update(file.filename().string() + ";");
  hash_bytes(hash, file);
}

void hash_weights(Sha256& hash, const Component& component, const fs::path& file) {
  const auto weights = component.weights();
  for (const auto& [name, view] : weights->tensors()) {
    hash.update(name);
    hash.update(dtype_name(view.dtype));
    for (const int64_t size : view.shape) hash_number(hash, static_cast<uint64_t>(size));
  }
  if (!file.filename().string().ends_with(".json")) return hash_file(hash, file);
  for (const auto& shard : load_shard_index(file).files) hash_file(hash, file.parent_path() / shard);
}

/// Files that shape the result without being weights: configs, vocabularies, merges, spiece.model.
std::vector<fs::path> small_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool is_index = name.find(".index.") != std::string::npos;
    const auto extension = it->path().extension();
    const bool is_kind = extension == ".json" || extension == ".txt" || extension == ".model";
    if (is_kind && !is_index && it->is_regular_file(error)) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string file_hash(const std::filesystem::path& file) {
  Sha256 hash;
  hash.update("t2v file hash 1;");  // the number changes when the recipe does
  hash_bytes(hash, file);
  return hash.hex();
}

std::string content_hash(const Checkpoint& checkpoint) {
  Sha256 hash;
  hash.update("t2v content hash 1;");  // the number changes when the recipe does
  hash.update(checkpoint.index().json().dump());
  for (const auto& [name, component] : checkpoint.components()) {
    hash.update(";" + name + ";" + component.class_name + ";");
    for (const auto& file : small_files(component.path)) hash_file(hash, file);
    if (const auto file = component.find_weights()) hash_weights(hash, component, *file);
  }
  return hash.hex();
}

}  // namespace t2v::io
