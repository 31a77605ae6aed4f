// SPDX-License-Identifier: Apache-2.0
#include "models/svd/pipeline.hpp"

#include <array>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include "core/check.hpp"
#include "engine/finite.hpp"
#include "engine/latents.hpp"
#include "engine/stage.hpp"
#include "io/image.hpp"
#include "models/clip.hpp"
#include "models/decode.hpp"
#include "models/run.hpp"
#include "models/svd/image_conditioning.hpp"
#include "models/unet/feature_cache.hpp"
#include "models/vae/autoencoder_kl.hpp"
#include "sampling/camera.hpp"
#include "sampling/guidance.hpp"
#include "tensor/operators.hpp"

namespace t2v::models::svd {

namespace {

/// Frame rate, amount of motion and image noise, as the network was trained on them: the rate less one.
std::array<double, 3> added_time_ids(const Request& request, c10::ScalarType dtype) {
  const std::array<double, 3> ids{static_cast<double>(*request.cond_fps - 1),
                                  static_cast<double>(*request.motion_bucket), *request.noise_aug};
  // diffusers makes a tensor of the network's dtype of them: in fp16 a strength of 0.02 is another number.
  const Tensor rounded = at::tensor(std::vector<double>(ids.begin(), ids.end())).to(dtype).to(at::kDouble);
  const auto* values = rounded.const_data_ptr<double>();
  return {values[0], values[1], values[2]};
}

/// UNet, image and guidance as one Denoiser. A state is [1, F, C, h, w].
class GuidedUNet final : public sampling::Denoiser {
 public:
  struct Image {
    Tensor token;    // [1, 1, D]
    Tensor latents;  // [1, 1, C, h, w]
  };
  GuidedUNet(engine::Reloadable<UNetSpatioTemporalConditionModel>& unet, Image image, std::array<double, 3> ids,
             std::optional<Tensor> ramp, const Request& request)
      : unet_(unet),
        image_(std::move(image)),
        ids_(ids),
        ramp_(ramp ? std::optional(ramp->to(unet.placement().device)) : std::nullopt),
        guidance_rescale_(*request.guidance_rescale),
        interval_{*request.cfg_from, *request.cfg_until},
        features_(*request.deepcache),
        graph_(engine::step_graph(unet.placement(), *request.steps)) {}

  Tensor predict(const Tensor& x, const sampling::StepContext& step) override {
    const auto options = [&](const char* branch) { return unet::CallOptions{features_.at(step, branch), &graph_}; };
    std::optional<Tensor> ramp;
    if (is_guided(step)) ramp = sampling::frames_of(*ramp_, /*frame_dim=*/1, step);
    return guided_call(x, embed(step), ramp, options);
  }
  std::optional<sampling::TensorCall> tensor_call(const sampling::StepContext& step) override {
    if (features_.is_active()) return std::nullopt;
    const bool guided = is_guided(step);
    const auto predict = [this, guided](const Tensor& x, const Tensor& time) {
      return guided_call(x, time, guided ? ramp_ : std::nullopt, [](const char*) { return unet::CallOptions{}; });
    };
    return sampling::TensorCall{embed(step), guided, predict};
  }
  bool use_fp32(bool on) override {
    graph_.stop();
    return unet_.use_fp32(on);
  }
  std::map<std::string, Tensor> state() const override { return features_.state(); }
  void set_state(const std::map<std::string, Tensor>& state) override { features_.set_state(state); }

 private:
  bool is_guided(const sampling::StepContext& step) const { return ramp_ && interval_.contains(step); }
  Tensor embed(const sampling::StepContext& step) { return unet_.get().embed(step.timestep, ids_); }
  template <class Options>
  Tensor guided_call(const Tensor& x, const Tensor& time, const std::optional<Tensor>& ramp, const Options& options) {
    const Tensor with_image = call(x, time, image_, options("image"));
    if (!ramp) return with_image;
    // Without an image both of its forms are zeros. The two calls follow each other: at this network's sizes one fills
    // the machine, and a batch of two would need twice the memory.
    const Image nothing{at::zeros_like(image_.token), at::zeros_like(image_.latents)};
    const Tensor without = call(x, time, nothing, options("nothing"));
    const Tensor guided = sampling::combine_cfg(without, with_image, *ramp);
    return sampling::rescale_noise_cfg(guided, with_image, guidance_rescale_);
  }
  Tensor call(const Tensor& x, const Tensor& time, const Image& image, const unet::CallOptions& options) {
    const c10::ScalarType dtype = unet_.placement().dtype;
    const Tensor latents = image.latents.expand({-1, x.size(1), -1, -1, -1});
    const Tensor input = at::cat({x.to(dtype), latents.to(dtype)}, 2);
    return unet_.get().forward(input, time, image.token.to(dtype), options).to(at::kFloat);
  }

  engine::Reloadable<UNetSpatioTemporalConditionModel>& unet_;
  Image image_;
  std::array<double, 3> ids_;
  std::optional<Tensor> ramp_;  // [1, F, 1, 1, 1]; absent: no classifier-free guidance
  double guidance_rescale_;
  sampling::GuidanceInterval interval_;
  unet::FeatureCache features_;
  engine::StepGraph graph_;
};

}  // namespace

Tensor guidance_ramp(const Plan& plan) {
  if (plan.request.loop) {
    std::vector<float> ramp;
    for (int64_t f = 0; f < plan.frames; ++f) {
      const double risen = sampling::camera_progress(f, plan.frames, /*loop=*/true);
      ramp.push_back(static_cast<float>(std::lerp(*plan.request.cfg_min, *plan.request.cfg_scale, risen)));
    }
    return at::tensor(ramp).view({1, plan.frames, 1, 1, 1});
  }
  return at::linspace(*plan.request.cfg_min, *plan.request.cfg_scale, plan.frames).view({1, plan.frames, 1, 1, 1});
}

int64_t decode_neighbours(const Plan& plan) {
  constexpr int64_t kNeighbours = 2;  // what one residual block of the decoder sees; more is hardly seen
  return plan.frames_at_once < plan.frames ? kNeighbours : 0;
}

bool is_guided(const Plan& plan) {
  // One frame has only the ramp's first value.
  return *plan.request.cfg_min > 1.0 || (plan.frames > 1 && *plan.request.cfg_scale > 1.0);
}

SvdPipeline::SvdPipeline(Networks networks, io::Config scheduler, Placement placement)
    : networks_(std::move(networks)), scheduler_config_(std::move(scheduler)), placement_(placement) {}

SvdPipeline::ImageConditioning SvdPipeline::encode_image(const Plan& plan, Rng& rng, Progress& progress) {
  networks_.vae.use_fp32(networks_.encodes_in_fp32);
  engine::load_networks(progress, networks_.image_encoder, networks_.vae);
  engine::StageScope stage(progress, Stage::text, 2);
  const Request& request = plan.request;
  const io::Image image = io::load_image(request.image);
  ImageConditioning out;
  const vision::CLIPVisionModel& encoder = networks_.image_encoder.get();
  const int64_t side = encoder.config.image_size;
  const Tensor pixels = networks_.normalisation.forward(clip_image(image, side)).to(placement_.device);
  out.token = encoder.image_embeds(pixels).unsqueeze(1).to(placement_.dtype);
  engine::require_finite(out.token, "image encoder");
  stage.step();

  // Drawn before the latents' noise, and even when its strength is 0: seeds then give diffusers' videos.
  const Tensor clean = vae_image(image, *request.height, *request.width).to(placement_.device);
  const Tensor noisy = clean + rng.normal_like(clean) * *request.noise_aug;
  const Tensor moments = networks_.vae.get().encode(noisy.to(networks_.vae.placement().dtype));
  out.latents = vae::AutoencoderKL::mean(moments).unsqueeze(1).to(placement_.dtype);
  networks_.vae.use_fp32(false);
  engine::require_finite(out.latents, "image latents");
  stage.step();
  return out;
}

Latents SvdPipeline::denoise(const Plan& plan, Progress& progress) {
  T2V_CHECK(networks_.unet && networks_.image_encoder, "denoise() of a pipeline loaded for decoding only");
  const c10::InferenceMode guard;
  const Request& request = plan.request;
  Rng rng = run_rng(request, placement_);
  const ImageConditioning image = encode_image(plan, rng, progress);
  if (!networks_.keep) networks_.image_encoder.release();
  engine::load_networks(progress, networks_.unet);

  constexpr int64_t kFrameDim = 1;
  const Tensor noise = initial_noise(plan, kFrameDim, placement_, rng);
  GuidedUNet denoiser(networks_.unet, {image.token, image.latents}, added_time_ids(request, placement_.dtype),
                      is_guided(plan) ? std::optional(guidance_ramp(plan)) : std::nullopt, request);
  const ClipRun run{.plan = plan,
                    .scheduler = scheduler_config_,
                    .denoiser = denoiser,
                    .frame_dim = kFrameDim,
                    .rng = rng,
                    .progress = progress};
  const Tensor state = sample_clip(run, {noise, {}});
  if (!networks_.keep) networks_.unet.release();
  return engine::to_latents(state);
}

void SvdPipeline::decode(const Latents& latents, const Plan& plan, FrameSink& sink, Progress& progress) {
  const c10::InferenceMode guard;
  const Tensor state = engine::to_tensor(latents).squeeze(0).to(placement_.device);
  engine::load_networks(progress, networks_.vae);
  const vae::AutoencoderKLTemporalDecoder& vae = networks_.vae.get();
  FrameDecoder decoder = frame_decoder(vae, networks_.vae.placement().dtype, plan, /*frames_apart=*/false);
  decoder.neighbours = decode_neighbours(plan);
  decode_frames(decoder, vae.unscale(state), plan, sink, progress);
}

}  // namespace t2v::models::svd
