// SPDX-License-Identifier: Apache-2.0
// Bytes -> LoRA reader: whole files, and tensor names.
#include "io/lora.hpp"
#include "fuzz_support.hpp"

namespace {

/// Two tensors of any names, [2, 2] each.
class NamedPair final : public t2v::io::TensorFile {
 public:
  NamedPair(std::string first, std::string second) {
    const t2v::io::TensorView view{t2v::io::DType::f32, {2, 2}, {}, std::as_bytes(std::span(values_))};
    tensors_.emplace(std::move(first), view);
    tensors_.emplace(std::move(second), view);
  }
  const std::map<std::string, t2v::io::TensorView, std::less<>>& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string where() const override { return "fuzz"; }
  int64_t file_bytes() const override { return 0; }
  void release(const t2v::io::TensorView&) const override {}

 private:
  float values_[4] = {1, 2, 3, 4};
  std::map<std::string, t2v::io::TensorView, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

void read_all(const t2v::io::LoraFile& lora) {
  lora.base_hint();
  lora.naming();
  for (const auto& module : lora.modules()) t2v::io::key_of_ldm(module.key, 2);
}

template <typename Action>
void expect_refusal_or_success(const Action& action) {
  t2v::fuzz::expect_clean([&] {
    try {
      action();
    } catch (const t2v::Error& error) {
      if (error.code() != t2v::ErrorCode::unsupported) throw;  // DoRA and its like
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const t2v::fuzz::MemoryFile memory(data, size);
  expect_refusal_or_success([&] { read_all(t2v::io::LoraFile::open(memory.path())); });
  const std::string text(reinterpret_cast<const char*>(data), size);
  expect_refusal_or_success([&] {
    read_all(t2v::io::LoraFile(std::make_shared<NamedPair>(text + ".lora_down.weight", text + ".lora_up.weight"), {}));
  });
  expect_refusal_or_success([&] {
    read_all(t2v::io::LoraFile(std::make_shared<NamedPair>("unet.x.lora_A.weight", "unet.x.lora_B.weight"), text));
  });
  return 0;
}
