// SPDX-License-Identifier: Apache-2.0
// Latents to frames with an image autoencoder, streamed: what families with a per-frame VAE share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <ATen/core/Tensor.h>

#include "engine/memory_probe.hpp"
#include "models/vae/image_autoencoder.hpp"
#include "t2v/pipeline.hpp"

namespace t2v::models {

/// What decoding needs of an autoencoder.
struct FrameDecoder {
  using Decode = std::function<at::Tensor(const at::Tensor&)>;  ///< [f, C, h, w] -> [f, 3, H, W] in [-1, 1]
  Decode decode;                                                ///< takes latents of `dtype`
  c10::ScalarType dtype = c10::kFloat;
  std::function<Decode()> load_fp32;  ///< the same in fp32, for frames that its own precision can't hold; may be empty
  int64_t factor = 8;                 ///< pixels a latent
  bool frames_apart = true;           ///< a frame is the same whatever is decoded beside it
  int64_t neighbours = 0;             ///< frames on either side of a chunk that are decoded along and dropped
};

/// A FrameDecoder of an autoencoder in `dtype`, in tiles where the plan says so. `vae` must outlive it.
template <class Vae>
FrameDecoder frame_decoder(const Vae& vae, c10::ScalarType dtype, const Plan& plan, bool frames_apart) {
  const auto run = [tiled = plan.request.vae_tiling](const Vae& network, const at::Tensor& latents) {
    return tiled ? network.decode_tiled(latents) : network.decode(latents);
  };
  FrameDecoder out{.decode = [run, &vae](const at::Tensor& latents) { return run(vae, latents); },
                   .dtype = dtype,
                   .load_fp32 = {},
                   .factor = vae.spatial_factor(),
                   .frames_apart = frames_apart};
  if (!vae.load_fp32) return out;
  out.load_fp32 = [run, &vae]() -> FrameDecoder::Decode {
    return [run, precise = std::shared_ptr<Vae>(vae.load_fp32())](const at::Tensor& latents) {
      return run(*precise, latents);
    };
  };
  return out;
}

/// What decoding latents of this shape [f, C, h, w] takes, in tiles where the plan says so, by a network without
/// weights.
template <class Vae>
engine::CallCost decode_cost(const Vae& shapes, const Plan& plan, at::IntArrayRef latents) {
  return engine::probe([&] {
    const at::Tensor given = engine::meta(latents);
    plan.request.vae_tiling ? shapes.decode_tiled(given) : shapes.decode(given);
  });
}

/// Decodes `latents` [F, C, h, w] (unscaled, fp32, on the VAE's device) a chunk at a time and writes each frame to
/// `sink`, resized to plan.width x plan.height where they differ. Memory does not grow with F, and where little is free
/// fewer frames than usual are decoded at once, if they are the same then. Frames that are NaN, Inf or plain black are
/// decoded once more in fp32 where there is such a form, and all that follow a chunk without one good frame at once;
/// Error{numbers} names one that is still not finite.
void decode_frames(const FrameDecoder& decoder, const at::Tensor& latents, const Plan& plan, FrameSink& sink,
                   Progress& progress);
/// The same with an image autoencoder.
void decode_frames(const vae::ImageAutoencoder& vae, c10::ScalarType dtype, const at::Tensor& latents, const Plan& plan,
                   FrameSink& sink, Progress& progress);

/// As many of `wanted` frames as fit into `free` bytes, where one chunk of the plan takes plan.memory.decode_peak. 0
/// free: not known, so all.
int64_t chunk_that_fits(const Plan& plan, int64_t wanted, int64_t free);

/// Frames decoded at once when the request does not say: as many as keep activations near 256 MB on a CPU (more gains
/// no speed there), 8 on CUDA.
int64_t default_decode_chunk(const Plan& plan, bool cuda);

}  // namespace t2v::models
