// SPDX-License-Identifier: Apache-2.0
// A text-to-video UNet, its text and classifier-free guidance as one Denoiser.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>

#include "engine/reloadable.hpp"
#include "engine/step_graph.hpp"
#include "models/text/run_text.hpp"
#include "models/unet/call_options.hpp"
#include "models/unet/feature_cache.hpp"
#include "sampling/denoiser.hpp"
#include "sampling/guidance.hpp"
#include "t2v/request.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::unet {

struct Guidance {
  std::optional<at::Tensor> embedded = {};  ///< [1, time_cond_proj_dim]: models that take its scale as an input
  bool one_batch = true;                    ///< prompt and negative prompt in one call, else one after the other
};

/// `Network` has embed_time() and forward() with an embedded time. `Layout` says how the sampler's state is the
/// network's video [1, C, F, h, w]: static to_video() and to_state().
template <class Network, class Layout>
class GuidedUNet final : public sampling::Denoiser {
 public:
  /// `unet` and `text` must outlive it.
  GuidedUNet(engine::Reloadable<Network>& unet, const text::RunText& text, const Request& request,
             Guidance guidance = {})
      : unet_(unet),
        text_(text),
        shown_(text),
        guidance_(std::move(guidance)),
        cfg_scale_(*request.cfg_scale),
        guidance_rescale_(*request.guidance_rescale),
        interval_{*request.cfg_from, *request.cfg_until},
        features_(*request.deepcache),
        graph_(engine::step_graph(unet.placement(), *request.steps)) {}

  at::Tensor predict(const at::Tensor& x, const sampling::StepContext& step) override {
    const bool guided = is_guided(step);
    return prediction(x, embed(step), guided, step.frames, [&](const char* branch) {
      return CallOptions{features_.at(step, branch), &graph_};
    });
  }
  std::optional<sampling::TensorCall> tensor_call(const sampling::StepContext& step) override {
    if (features_.is_active()) return std::nullopt;
    const bool guided = is_guided(step);
    const auto predict = [this, guided](const at::Tensor& x, const at::Tensor& time) {
      return prediction(x, time, guided, {}, [](const char*) { return CallOptions{}; });
    };
    return sampling::TensorCall{embed(step), guided, predict};
  }
  bool use_fp32(bool on) override {
    graph_.stop();
    return unet_.use_fp32(on);
  }
  std::map<std::string, at::Tensor> state() const override { return features_.state(); }
  void set_state(const std::map<std::string, at::Tensor>& state) override { features_.set_state(state); }

 private:
  using Which = text::RunText::Which;

  bool is_guided(const sampling::StepContext& step) const { return text_.guided() && interval_.contains(step); }
  at::Tensor embed(const sampling::StepContext& step) {  // [1, T]
    std::optional<at::Tensor> scale;
    if (guidance_.embedded) scale = guidance_.embedded->to(unet_.placement().dtype);
    return unet_.get().embed_time(std::vector{step.timestep}, scale);
  }

  template <class Options>
  at::Tensor prediction(const at::Tensor& x, const at::Tensor& time, bool guided, std::span<const int64_t> frames,
                        const Options& options) {
    const at::Tensor video = Layout::to_video(x).to(unet_.placement().dtype);
    const auto call = [&](Which which, const char* branch) {
      const int64_t batch = which == Which::both ? 2 : 1;
      text::CallText::Shown& shown = shown_.of(which, frames, video.scalar_type());
      const nn::ContextKeys::Scope scope(shown.keys, shown.states);
      const at::Tensor input = batch == 2 ? at::cat({video, video}, 0) : video;
      return unet_.get().forward(input, time.expand({batch, -1}), shown.states, options(branch)).to(c10::kFloat);
    };
    if (!guided) return Layout::to_state(call(Which::prompt, "all"));
    at::Tensor without, with;
    if (guidance_.one_batch) {
      const auto halves = call(Which::both, "all").chunk(2, 0);
      without = halves[0], with = halves[1];
    } else {
      without = call(Which::negative, "negative"), with = call(Which::prompt, "prompt");
    }
    const at::Tensor combined = sampling::combine_cfg(without, with, cfg_scale_);
    return Layout::to_state(sampling::rescale_noise_cfg(combined, with, guidance_rescale_));
  }

  engine::Reloadable<Network>& unet_;
  const text::RunText& text_;
  text::CallText shown_;
  Guidance guidance_;
  double cfg_scale_, guidance_rescale_;
  sampling::GuidanceInterval interval_;
  FeatureCache features_;
  engine::StepGraph graph_;
};

}  // namespace t2v::models::unet
