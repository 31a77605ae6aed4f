// SPDX-License-Identifier: Apache-2.0
#include "models/modelscope/pipeline.hpp"

#include <algorithm>

#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include "core/check.hpp"
#include "engine/frames.hpp"
#include "engine/latents.hpp"
#include "engine/sample.hpp"
#include "media/scale.hpp"
#include "media/video_reader.hpp"
#include "models/decode.hpp"
#include "models/run.hpp"
#include "models/text/run_text.hpp"
#include "models/unet/guided_unet.hpp"

namespace t2v::models::modelscope {

namespace {

/// The state of a run is [F, C, h, w], the shape in which diffusers hands latents to its scheduler, because the noise
/// of stochastic samplers is drawn in that shape. The network sees [B, C, F, h, w].
struct Layout {
  static at::Tensor to_state(const at::Tensor& video) { return video.squeeze(0).transpose(0, 1).contiguous(); }
  static at::Tensor to_video(const at::Tensor& state) { return state.transpose(0, 1).unsqueeze(0); }
};
using GuidedUNet = unet::GuidedUNet<UNet3DConditionModel, Layout>;

}  // namespace

ModelScopePipeline::ModelScopePipeline(Networks networks, io::Config scheduler, Placement placement)
    : networks_(std::move(networks)), scheduler_config_(std::move(scheduler)), placement_(placement) {}

at::Tensor ModelScopePipeline::encode_video(const Plan& plan, Rng& rng, Progress& progress) {
  networks_.vae.use_fp32(networks_.encodes_in_fp32);
  engine::load_networks(progress, networks_.vae);
  const vae::ImageAutoencoder& vae = networks_.vae.get();
  const Placement& placement = networks_.vae.placement();
  const auto video = media::open_video(plan.request.video);
  const int64_t width = *plan.request.width, height = *plan.request.height;
  media::FrameScaler scaler(video->info().width, video->info().height, width, height, media::ScaleMethod::lanczos);
  const bool same_size = video->info().width == width && video->info().height == height;
  std::vector<at::Tensor> encoded;
  std::vector<uint8_t> rgb;
  while (static_cast<int64_t>(encoded.size()) < plan.frames && video->next(rgb)) {
    const FrameView frame{video->info().width, video->info().height, rgb};
    const FrameView sized = same_size ? frame : scaler.scale(frame);
    const at::Tensor image = engine::rgb8_to_frame(sized.rgb, height, width).unsqueeze(0);
    encoded.push_back(vae.encode(image.to(placement.device, placement.dtype)));
  }
  const at::Tensor sample = vae.draw(at::cat(encoded, 0), rng);  // [F, C, h, w]
  const at::Tensor original = vae.scale(sample).to(placement_.device, placement_.dtype);
  networks_.vae.use_fp32(false);
  return original;
}

ClipStart ModelScopePipeline::start(const Plan& plan, Rng& rng, Progress& progress) {
  if (!plan.request.video.empty()) {
    const at::Tensor original = encode_video(plan, rng, progress);
    return {rng.normal_like(original), original};
  }
  return {Layout::to_state(initial_noise(plan, /*frame_dim=*/2, placement_, rng)), {}};
}

Latents ModelScopePipeline::denoise(const Plan& plan, Progress& progress) {
  T2V_CHECK(networks_.unet && networks_.text_encoder, "denoise() of a pipeline loaded for decoding only");
  const c10::InferenceMode guard;
  const Request& request = plan.request;
  engine::load_networks(progress, networks_.text_encoder);
  const text::RunText text =
      text::encode_run(networks_.text_encoder.get(), request, *request.cfg_scale > 1.0, plan.frames, progress);
  if (!networks_.keep || is_short_of_memory(plan)) networks_.text_encoder.release();

  Rng rng = run_rng(request, placement_);
  ClipStart first = start(plan, rng, progress);
  engine::load_networks(progress, networks_.unet);
  GuidedUNet denoiser(networks_.unet, text, request, {.one_batch = guides_in_one_batch(plan)});
  const ClipRun run{.plan = plan,
                    .scheduler = scheduler_config_,
                    .denoiser = denoiser,
                    .frame_dim = 0,
                    .rng = rng,
                    .progress = progress};
  const at::Tensor state = sample_clip(run, std::move(first));
  if (!networks_.keep) networks_.unet.release();
  return engine::to_latents(Layout::to_video(state));
}

void ModelScopePipeline::decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) {
  const c10::InferenceMode guard;
  const at::Tensor state = Layout::to_state(engine::to_tensor(latents)).to(placement_.device);
  engine::load_networks(progress, networks_.vae);
  const vae::ImageAutoencoder& vae = networks_.vae.get();
  decode_frames(vae, networks_.vae.placement().dtype, vae.unscale(state), plan, sink, progress);
}

}  // namespace t2v::models::modelscope
