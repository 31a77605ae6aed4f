// SPDX-License-Identifier: Apache-2.0
// Tiny models of every UNet family, for tests that hold for all of them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "pipelines/whole_run.hpp"
#include "support/svd_checkpoint.hpp"

namespace t2v::test {

using Frame = std::vector<float>;

/// A tiny model of a family, loaded once.
class Family {
 public:
  static Family& named(const std::string& name) {
    static std::map<std::string, std::unique_ptr<Family>> all;
    auto& one = all[name];
    if (!one) one.reset(new Family(name));
    return *one;
  }

  Request request(int64_t frames) const {
    Request out{.width = 32, .height = 32, .frames = frames, .steps = 6, .cfg_scale = 1.5, .seed = 3};
    if (name_ == "svd") {
      out.image = image_;
    } else {
      out.prompt = "x";
      out.sampler = "ddim";
    }
    return out;
  }
  Plan plan(const Request& request) const { return model_->plan(request); }
  const LoadOptions& options() const { return options_; }
  Pipeline& pipeline() const { return *pipeline_; }

  Latents denoise(const Request& request) { return pipeline_->denoise(model_->plan(request), progress_); }
  /// Latents, frame by frame, of noise that is the same in every frame.
  std::vector<Frame> clip(Request request) {
    const Plan plan = model_->plan(request);
    const int64_t frames = plan.frames, frame_axis = name_ == "svd" ? 1 : 2;
    const auto& shape = plan.latent_shape;
    const int64_t outer = frame_axis == 1 ? 1 : shape[1];
    const int64_t inner = std::accumulate(shape.begin() + frame_axis + 1, shape.end(), int64_t{1}, std::multiplies<>());
    const Frame noise = formula_input("clip", Shape{outer, inner});
    Frame all;
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t f = 0; f < frames; ++f)
        all.insert(all.end(), noise.begin() + o * inner, noise.begin() + (o + 1) * inner);
    }
    TensorWriter file;
    file.add("latents", shape, all);
    request.init_latents = folder_.path() / "noise.safetensors";
    file.write(request.init_latents);
    const Latents latents = denoise(request);
    std::vector<Frame> out(static_cast<size_t>(frames));
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t f = 0; f < frames; ++f) {
        const auto begin = latents.data.begin() + (o * frames + f) * inner;
        out[static_cast<size_t>(f)].insert(out[static_cast<size_t>(f)].end(), begin, begin + inner);
      }
    }
    return out;
  }

 private:
  explicit Family(std::string name) : name_(std::move(name)) {
    const fs::path path = folder_.path() / "model";
    options_.model = path.string();
    options_.device = "cpu";
    if (name_ == "svd") {
      write_svd_checkpoint(path);
      image_ = write_picture(folder_.path(), 32, 32);
    } else if (name_ == "animatediff") {
      write_sd_folder(path, "sd1", sd_golden()["runs"]["animate_v3"]["scheduler"]);
      options_.motion_module = folder_.path() / "adapter";
      write_adapter_folder(options_.motion_module, "v3");
    } else {
      const io::Json golden = pipelines_golden();
      write_tiny_checkpoint(path, golden, golden["runs"]["default"]["scheduler"]);
    }
    model_ = open_model(options_);
    pipeline_ = model_->load(progress_);
  }

  TempFolder folder_;
  std::string name_;
  LoadOptions options_;
  fs::path image_;
  Progress progress_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace t2v::test
