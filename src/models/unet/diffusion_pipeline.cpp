// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <utility>

#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include "core/check.hpp"
#include "engine/latents.hpp"
#include "models/clip.hpp"
#include "models/decode.hpp"
#include "models/run.hpp"
#include "models/text/run_text.hpp"
#include "models/unet/diffusion.hpp"
#include "models/unet/feature_cache.hpp"
#include "nn/time_embedding.hpp"
#include "sampling/guidance.hpp"

namespace t2v::models::unet {

namespace {

/// UNet, prompt and guidance as one Denoiser. The state is [1, C, F, h, w], the shape in which AnimateDiffPipeline
/// hands latents to its scheduler; with one frame its noise is that of an image's [1, C, h, w].
class GuidedUNet final : public sampling::Denoiser {
 public:
  /// Consistency models that were distilled with guidance take its scale as an input and run unguided.
  GuidedUNet(engine::Reloadable<UNet2DConditionModel>& unet, const text::RunText& text, const Request& request)
      : unet_(unet),
        text_(text),
        shown_(text),
        cfg_scale_(*request.cfg_scale),
        guidance_rescale_(*request.guidance_rescale),
        interval_{*request.cfg_from, *request.cfg_until},
        features_(*request.deepcache),
        graph_(engine::step_graph(unet.placement(), *request.steps)) {
    if (const auto width = unet.get().config().time_cond_proj_dim) {
      // diffusers' get_guidance_scale_embedding: the sinusoids of a timestep 1000 (w - 1), sines first.
      const std::array scaled{(cfg_scale_ - 1.0) * 1000.0};
      guidance_ = nn::timesteps(scaled, {.channels = *width, .flip_sin_to_cos = false, .downscale_freq_shift = 1.0},
                                unet.placement().device);
    }
  }

  at::Tensor predict(const at::Tensor& x, const sampling::StepContext& step) override {
    const c10::ScalarType dtype = unet_.placement().dtype;
    const bool guided = text_.guided() && interval_.contains(step);
    const at::Tensor video = x.to(dtype);
    const at::Tensor input = guided ? at::cat({video, video}, 0) : video;
    std::optional<at::Tensor> guidance;
    if (guidance_) guidance = guidance_->to(dtype);
    const at::Tensor& states = shown_.states(step.frames, guided, dtype);
    const nn::ContextKeys::Scope scope(shown_.keys, states);
    const at::Tensor output =
        unet_.get().forward(input, step.timestep, states, guidance, {features_.at(step), &graph_});
    if (!guided) return output;
    const auto halves = output.chunk(2, 0);
    const at::Tensor guided_output = sampling::combine_cfg(halves[0], halves[1], cfg_scale_);
    return sampling::rescale_noise_cfg(guided_output, halves[1], guidance_rescale_);
  }
  bool use_fp32(bool on) override {
    graph_.stop();
    return unet_.use_fp32(on);
  }
  std::map<std::string, at::Tensor> state() const override { return features_.state(); }
  void set_state(const std::map<std::string, at::Tensor>& state) override { features_.set_state(state); }

 private:
  engine::Reloadable<UNet2DConditionModel>& unet_;
  const text::RunText& text_;
  text::CallText shown_;
  std::optional<at::Tensor> guidance_;  // [1, time_cond_proj_dim]
  double cfg_scale_, guidance_rescale_;
  sampling::GuidanceInterval interval_;
  FeatureCache features_;
  engine::StepGraph graph_;
};

/// [1, C, F, h, w] of latents that may lack the frame axis.
at::Tensor with_frames(const at::Tensor& latents) { return latents.dim() == 4 ? latents.unsqueeze(2) : latents; }

}  // namespace

DiffusionPipeline::DiffusionPipeline(Networks networks, io::Config scheduler, Placement placement,
                                     Placement vae_placement)
    : networks_(std::move(networks)),
      scheduler_config_(std::move(scheduler)),
      placement_(placement),
      vae_placement_(vae_placement) {}

Latents DiffusionPipeline::denoise(const Plan& plan, Progress& progress) {
  T2V_CHECK(networks_.unet && networks_.text_encoder, "denoise() of a pipeline loaded for decoding only");
  const c10::InferenceMode guard;
  const Request& request = plan.request;
  const bool guided = *request.cfg_scale > 1.0 && !networks_.embeds_guidance;
  engine::load_networks(progress, networks_.text_encoder);
  const text::RunText text = text::encode_run(networks_.text_encoder.get(), request, guided, plan.frames, progress);
  if (!networks_.keep || is_short_of_memory(plan)) networks_.text_encoder.release();

  engine::load_networks(progress, networks_.unet);
  Rng rng = run_rng(request, placement_);
  GuidedUNet denoiser(networks_.unet, text, request);
  constexpr int64_t kFrameDim = 2;
  const ClipRun run{.plan = plan,
                    .scheduler = scheduler_config_,
                    .denoiser = denoiser,
                    .frame_dim = kFrameDim,
                    .rng = rng,
                    .progress = progress};
  const at::Tensor clip = sample_clip(run, {with_frames(initial_noise(plan, kFrameDim, placement_, rng)), {}});
  if (!networks_.keep) networks_.unet.release();
  return engine::to_latents(clip.reshape(plan.latent_shape));
}

void DiffusionPipeline::decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) {
  const c10::InferenceMode guard;
  const at::Tensor video = with_frames(engine::to_tensor(latents)).to(vae_placement_.device, vae_placement_.dtype);
  const at::Tensor frames = video.squeeze(0).transpose(0, 1).contiguous();  // [F, C, h, w]
  engine::load_networks(progress, networks_.vae);
  const vae::ImageAutoencoder& vae = networks_.vae.get();
  decode_frames(vae, vae.unscale(frames), plan, sink, progress);
}

}  // namespace t2v::models::unet
