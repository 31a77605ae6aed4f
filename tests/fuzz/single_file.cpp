// SPDX-License-Identifier: Apache-2.0
// Lines "name size size ..." -> the header of a file in original names -> components, derived configs and shown
// tensors.
#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "fuzz_support.hpp"
#include "io/ldm_names.hpp"
#include "io/motion_module.hpp"
#include "io/single_file.hpp"

namespace {

/// A header without data behind it: every tensor's bytes are the same few.
class HeaderFile final : public t2v::io::TensorFile {
 public:
  explicit HeaderFile(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string name;
      words >> name;
      std::vector<int64_t> shape;
      for (int64_t size = 0; words >> size;) shape.push_back(size < 0 ? -(size + 1) : size);
      tensors_.emplace(name, t2v::io::TensorView{t2v::io::DType::f32, shape, {}, bytes_});
    }
  }
  const std::map<std::string, t2v::io::TensorView, std::less<>>& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string where() const override { return "fuzz.safetensors"; }
  int64_t file_bytes() const override { return 0; }
  void release(const t2v::io::TensorView&) const override {}

 private:
  std::byte bytes_[48] = {};
  std::map<std::string, t2v::io::TensorView, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto file = std::make_shared<HeaderFile>(text);
  t2v::fuzz::expect_clean([&] { t2v::io::open_stable_diffusion_file(file); });
  const auto module = [&] {
    if (t2v::io::is_motion_module(*file)) t2v::io::motion_module_component(file);
  };
  t2v::fuzz::expect_clean(module, {t2v::ErrorCode::bad_input, t2v::ErrorCode::unsupported});  // PIA is told by its name
  for (const auto& [name, view] : file->tensors()) {
    t2v::io::ldm_unet_name(name, static_cast<int64_t>(size % 5));
    t2v::io::ldm_vae_name(name, static_cast<int64_t>(size % 13));
    t2v::io::openclip_text_names(name);
    t2v::io::motion_module_name(name);
  }
  return 0;
}
