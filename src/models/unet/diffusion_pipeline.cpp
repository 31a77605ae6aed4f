// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <utility>

#include <c10/core/InferenceMode.h>

#include "core/check.hpp"
#include "engine/latents.hpp"
#include "models/clip.hpp"
#include "models/decode.hpp"
#include "models/run.hpp"
#include "models/text/run_text.hpp"
#include "models/unet/diffusion.hpp"
#include "models/unet/guided_unet.hpp"
#include "nn/time_embedding.hpp"

namespace t2v::models::unet {

namespace {

/// The state is [1, C, F, h, w], the shape in which AnimateDiffPipeline hands latents to its scheduler; with one frame
/// its noise is that of an image's [1, C, h, w].
struct Layout {
  static at::Tensor to_state(const at::Tensor& video) { return video; }
  static at::Tensor to_video(const at::Tensor& state) { return state; }
};
using Guided = GuidedUNet<UNet2DConditionModel, Layout>;

/// Consistency models that were distilled with guidance take its scale as an input and run unguided: diffusers'
/// get_guidance_scale_embedding, the sinusoids of a timestep 1000 (w - 1), sines first.
std::optional<at::Tensor> embedded_guidance(const UNet2DConditionModel& unet, double scale, c10::Device device) {
  const auto width = unet.config().time_cond_proj_dim;
  if (!width) return std::nullopt;
  const std::array scaled{(scale - 1.0) * 1000.0};
  return nn::timesteps(scaled, {.channels = *width, .flip_sin_to_cos = false, .downscale_freq_shift = 1.0}, device);
}

/// [1, C, F, h, w] of latents that may lack the frame axis.
at::Tensor with_frames(const at::Tensor& latents) { return latents.dim() == 4 ? latents.unsqueeze(2) : latents; }

}  // namespace

DiffusionPipeline::DiffusionPipeline(Networks networks, io::Config scheduler, Placement placement)
    : networks_(std::move(networks)), scheduler_config_(std::move(scheduler)), placement_(placement) {}

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
  Guided denoiser(
      networks_.unet, text, request,
      {embedded_guidance(networks_.unet.get(), *request.cfg_scale, placement_.device), guides_in_one_batch(plan)});
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
  const at::Tensor video = with_frames(engine::to_tensor(latents)).to(placement_.device);
  const at::Tensor frames = video.squeeze(0).transpose(0, 1).contiguous();  // [F, C, h, w]
  engine::load_networks(progress, networks_.vae);
  const vae::ImageAutoencoder& vae = networks_.vae.get();
  decode_frames(vae, networks_.vae.placement().dtype, vae.unscale(frames), plan, sink, progress);
}

}  // namespace t2v::models::unet
