// SPDX-License-Identifier: Apache-2.0
// What to generate. An absent optional means: the checkpoint's or the family's default.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace t2v {

/// An exact fraction, used for frame rates (24000/1001). den > 0.
struct Rational {
  int64_t num = 0;
  int64_t den = 1;
  double value() const noexcept { return static_cast<double>(num) / static_cast<double>(den); }
  bool operator==(const Rational&) const = default;
};

enum class RngDevice { cpu, cuda };  ///< whose noise: torch.Generator("cpu") or ("cuda")

struct Request {
  std::string prompt;
  std::optional<std::string> negative_prompt;  ///< default: the family's, usually empty
  /// Text that holds from a frame on, fading over from the key frame before. `prompt` is that of frame 0.
  std::vector<std::pair<int64_t, std::string>> prompt_at;
  std::string prompt_syntax;  ///< "auto plain weighted", see text/prompt_syntax.hpp; empty: auto

  std::optional<int64_t> width, height;  ///< pixels
  std::optional<int64_t> frames;
  std::optional<double> seconds;    ///< alternative to frames: round(seconds * fps), as the family allows
  std::optional<Rational> fps;      ///< frame rate of the file
  std::optional<int64_t> cond_fps;  ///< for models conditioned on a frame rate

  std::optional<int64_t> context;          ///< frames the network sees at once, in overlapping windows; 0: all of them
  std::optional<int64_t> context_overlap;  ///< frames that neighbouring windows share
  std::optional<int64_t> context_stride;   ///< 1: windows of neighbouring frames; 2, 3, ..: of every 2nd, 4th, .. too
  std::string context_blend;               ///< "pyramid flat": how overlapping windows are averaged
  bool loop = false;                       ///< the last frame leads into the first
  std::string noise;                       ///< "random freenoise repeat": what a clip of several windows begins from
  std::optional<int64_t> freeinit;         ///< how often to sample, each time from the last clip's low frequencies
  std::string freeinit_filter;             ///< "butterworth gaussian ideal"
  std::optional<double> freeinit_order;    ///< of the Butterworth filter
  std::optional<double> freeinit_space, freeinit_time;  ///< stop frequencies, 0..1
  bool freeinit_fast = false;                           ///< fewer steps in the first iterations
  std::vector<std::pair<std::string, double>> camera;   ///< moves ("pan-left", ..) and their strengths, together

  std::optional<int64_t> steps;
  std::optional<double> cfg_scale;         ///< <= 1: no classifier-free guidance
  std::optional<double> cfg_min;           ///< start of the per-frame guidance ramp
  std::optional<double> guidance_rescale;  ///< phi of arXiv 2305.08891, 0 = off
  /// What trades exactness for time, all off by default. `fast` is a preset of the two others where they are absent.
  bool fast = false;
  std::optional<double> cfg_from, cfg_until;  ///< guidance only in this part of the steps, 0..1
  std::optional<int64_t> deepcache;           ///< all layers of a UNet only in every n-th step (arXiv 2312.00858)
  std::string sampler;                        ///< contract name ("ddim", "dpmpp_2m"); empty: the checkpoint's
  std::string sigmas;                         ///< "karras exponential beta sgm_uniform simple"; empty: the checkpoint's
  std::string spacing;                        ///< "leading linspace trailing"; empty: the checkpoint's
  std::optional<double> eta;                  ///< 0..1, stochasticity of DDIM-like samplers
  std::optional<int64_t> clip_skip;           ///< diffusers meaning: 1 = penultimate layer

  std::optional<int64_t> seed;  ///< absent or -1: random
  RngDevice rng = RngDevice::cpu;
  std::filesystem::path init_latents;  ///< safetensors, tensor `latents`, unit variance

  std::filesystem::path image, end_image;
  std::filesystem::path video;     ///< a file libav reads, or a frame pattern f%04d.png
  std::optional<double> strength;  ///< how much of video/image is re-made, 0..1
  std::optional<int64_t> motion_bucket;
  std::optional<double> noise_aug;

  std::optional<int64_t> decode_chunk;  ///< frames decoded at once; default: as many as fit
  bool vae_tiling = false;

  /// Only Pipeline::decode() will run: a plan then needs none of the inputs of denoising (image, video, strength, ...).
  bool decode_only = false;
};

/// Which files to load, and where they compute.
struct LoadOptions {
  std::string model;                                  ///< folder or file; empty: the embedded model
  std::filesystem::path vae, text_encoder, unet;      ///< replacements of single components
  std::filesystem::path motion_module;                ///< AnimateDiff motion adapter
  std::vector<std::pair<std::string, double>> loras;  ///< path, weight
  std::string device = "auto";                        ///< auto | cpu | cuda[:N]
  std::string dtype = "auto";                         ///< auto | fp32 | fp16 | bf16
  int threads = 0;                                    ///< 0: the cores this process may use
  /// Whether networks stay in memory between their turns and between runs. false, for a single run: each is loaded when
  /// its turn comes, encoders of conditions and the UNet are given back after theirs, and memory holds the largest
  /// turn, not the sum; a further run loads again. The VAE, once loaded, stays.
  bool keep_networks = true;
};

}  // namespace t2v
