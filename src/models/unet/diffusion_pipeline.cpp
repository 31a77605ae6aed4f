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
#include "models/unet/diffusion.hpp"
#include "nn/time_embedding.hpp"
#include "sampling/guidance.hpp"

namespace t2v::models::unet {

namespace {

/// UNet, prompt and guidance as one Denoiser. The state is [1, C, F, h, w], the shape in which AnimateDiffPipeline hands
/// latents to its scheduler; with one frame its noise is that of an image's [1, C, h, w].
class GuidedUNet final : public sampling::Denoiser {
 public:
  /// Consistency models that were distilled with guidance take its scale as an input and run unguided.
  GuidedUNet(const UNet2DConditionModel& unet, at::Tensor states, const Request& request)
      : unet_(unet),
        states_(std::move(states)),
        cfg_scale_(*request.cfg_scale),
        guidance_rescale_(*request.guidance_rescale) {
    if (const auto width = unet.config().time_cond_proj_dim) {
      // diffusers' get_guidance_scale_embedding: the sinusoids of a timestep 1000 (w - 1), sines first.
      const std::array scaled{(cfg_scale_ - 1.0) * 1000.0};
      guidance_ = nn::timesteps(scaled, {.channels = *width, .flip_sin_to_cos = false, .downscale_freq_shift = 1.0},
                                states_.device())
                      .to(states_.scalar_type());
    }
  }

  at::Tensor predict(const at::Tensor& x, const sampling::StepContext& step) override {
    const bool guided = states_.size(0) == 2;  // [negative, prompt]
    const at::Tensor video = x.to(states_.scalar_type());
    const at::Tensor input = guided ? at::cat({video, video}, 0) : video;
    const at::Tensor output = unet_.forward(input, step.timestep, states_, guidance_);
    if (!guided) return output;
    const auto halves = output.chunk(2, 0);
    const at::Tensor guided_output = sampling::combine_cfg(halves[0], halves[1], cfg_scale_);
    return sampling::rescale_noise_cfg(guided_output, halves[1], guidance_rescale_);
  }

 private:
  const UNet2DConditionModel& unet_;
  at::Tensor states_;                   // [1 or 2, L, D]
  std::optional<at::Tensor> guidance_;  // [1, time_cond_proj_dim]
  double cfg_scale_, guidance_rescale_;
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
  const bool guided = *request.cfg_scale > 1.0 && !networks_.unet->config().time_cond_proj_dim;
  const at::Tensor states = encode_prompts(*networks_.text_encoder, request, guided, progress).batch();

  Rng rng = run_rng(request, placement_);
  GuidedUNet denoiser(*networks_.unet, states.to(placement_.dtype), request);
  const ClipRun run{.plan = plan, .scheduler = scheduler_config_, .denoiser = denoiser, .frame_dim = 2, .rng = rng,
                    .progress = progress};
  const at::Tensor state = sample_clip(run, {with_frames(initial_noise(plan, placement_, rng)), {}});
  return engine::to_latents(state.reshape(plan.latent_shape));
}

void DiffusionPipeline::decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) {
  const c10::InferenceMode guard;
  const at::Tensor video = with_frames(engine::to_tensor(latents)).to(vae_placement_.device, vae_placement_.dtype);
  const at::Tensor frames = video.squeeze(0).transpose(0, 1).contiguous();  // [F, C, h, w]
  decode_frames(*networks_.vae, networks_.vae->unscale(frames), plan, sink, progress);
}

}  // namespace t2v::models::unet
