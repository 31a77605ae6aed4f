// SPDX-License-Identifier: Apache-2.0
// Bytes -> model_index.json of a checkpoint folder. No component may lie anywhere but in a folder of
// its own beside the index.
#include "fuzz_support.hpp"
#include "io/checkpoint.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const t2v::fuzz::FuzzFolder folder;
  folder.write("model_index.json", {reinterpret_cast<const char*>(data), size});
  t2v::fuzz::expect_clean([&] {
    const auto checkpoint = t2v::io::Checkpoint::open(folder.path());
    for (const auto& [name, component] : checkpoint.components()) {
      t2v::fuzz::require(component.path.parent_path() == folder.path());
      t2v::fuzz::require(component.path.filename() == name && name != "." && name != "..");
      t2v::fuzz::expect_clean([&, &part = component] { part.config(); });
      t2v::fuzz::expect_clean([&, &part = component] { part.weights(); });
    }
  });
  return 0;
}
