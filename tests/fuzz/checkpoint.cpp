// SPDX-License-Identifier: Apache-2.0
// Bytes -> file by content (zip, legacy pickle, anything), and bytes -> data.pkl inside a
// well-formed archive.
#include <string>

#include "fuzz_support.hpp"
#include "io/pickle.hpp"

namespace {

/// 64 bytes for every storage.
class SmallStorages final : public t2v::io::pickle::StorageSource {
 public:
  std::span<const std::byte> bytes_of(const t2v::io::pickle::Storage&) override { return bytes_; }

 private:
  std::byte bytes_[64] = {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  t2v::fuzz::expect_clean([&] { t2v::fuzz::open_and_touch(data, size); });
  t2v::fuzz::expect_clean([&] {
    t2v::io::pickle::Machine machine(std::as_bytes(std::span(data, size)), "fuzz");
    SmallStorages storages;
    t2v::io::pickle::collect_tensors(machine.run(), storages, "fuzz");
  });
  return 0;
}
