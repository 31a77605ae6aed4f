// SPDX-License-Identifier: Apache-2.0
// From a checkpoint to frames: open_model() reads configs and headers, Model::load() the weights, Pipeline runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "t2v/export.hpp"
#include "t2v/frame_sink.hpp"
#include "t2v/progress.hpp"
#include "t2v/request.hpp"

namespace t2v {

/// One part of a checkpoint (unet, vae, ...), as found on disk.
struct ComponentInfo {
  std::string name;        ///< folder name in model_index.json
  std::string class_name;  ///< diffusers or transformers class
  int64_t parameters = 0;  ///< counted from the network that the config describes
  int64_t file_bytes = 0;
  std::string dtype;  ///< dtype of the stored tensors ("F16"), or "mixed"
};

/// A LoRA merged into a model's weights, in the order of LoadOptions::loras.
struct LoraInfo {
  std::string name;  ///< file name
  double weight = 1.0;
  std::string content_hash;  ///< hex, over the file's bytes
  std::string naming;        ///< whose names its tensors have: "kohya (A1111)"
  std::vector<int64_t> ranks;
  int64_t matched = 0, tensors = 0;  ///< tensors that change this model, and all in the file
};

struct ModelInfo {
  std::string name;            ///< what the user would type: folder or file name
  std::string family;          ///< "modelscope"
  std::string pipeline_class;  ///< "TextToVideoSDPipeline"
  std::string content_hash;    ///< hex, over names, shapes and bytes of configs and weight headers
  std::vector<ComponentInfo> components;
  int64_t width = 0, height = 0, frames = 0, steps = 0;  ///< defaults
  Rational fps{8, 1};
  double cfg_scale = 1.0;
  std::vector<LoraInfo> loras;
  std::vector<std::string> accepts;  ///< flags beyond the common ones that this family takes ("video", "strength")
};

/// Memory a run needs, in bytes.
struct MemoryPlan {
  int64_t weights = 0;
  int64_t denoise_peak = 0;  ///< activations of one network call
  int64_t decode_peak = 0;   ///< activations of one decode chunk
  int64_t total_peak = 0;    ///< of the process
};

/// A request with every default filled in and every value checked. Running the same plan gives the same video.
struct Plan {
  Request request;                ///< no optional that the family uses is absent any more
  int64_t width = 0, height = 0;  ///< of the frames written
  int64_t frames = 0;
  int64_t frames_at_once = 0;  ///< that one network call sees: all of them, or a context window
  Rational fps{8, 1};
  std::string sampler_class;  ///< diffusers class name
  std::vector<int64_t> latent_shape;
  std::string device, dtype;  ///< resolved: "cpu", "fp32"
  MemoryPlan memory;
  int64_t denoise_flops = 0;  ///< of one network call, guidance included; 2 a multiply-add, norms left out
  int64_t decode_flops = 0;   ///< of one frame
};

/// The result of denoising: unscaled, fp32, in the family's own layout. `settings` is the run's JSON object.
struct Latents {
  std::vector<int64_t> shape;
  std::vector<float> data;
  std::string settings;
};

/// A model in memory. One run at a time.
class T2V_API Pipeline {
 public:
  virtual ~Pipeline() = default;
  virtual Latents denoise(const Plan&, Progress&) = 0;
  virtual void decode(const Latents&, const Plan&, FrameSink&, Progress&) = 0;
};

/// Which parts of a model load() brings into memory.
enum class Parts {
  all,
  decoder,  ///< only what Pipeline::decode() needs
};

/// A checkpoint whose configs and file headers have been read and checked; weights are not loaded.
class T2V_API Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual Plan plan(const Request&) const = 0;  ///< throws usage / unsupported, naming the flag
  virtual std::unique_ptr<Pipeline> load(Progress&, Parts parts = Parts::all) const = 0;
};

/// Opens a diffusers folder or a single-file checkpoint. Throws bad_input or unsupported.
T2V_API std::unique_ptr<Model> open_model(const LoadOptions&);

}  // namespace t2v
