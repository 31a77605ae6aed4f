// SPDX-License-Identifier: Apache-2.0
// Stable Video Diffusion through the public API: the runs that scripts/golden/svd.py made with the same weights in
// diffusers.
#pragma once

#include <filesystem>
#include <string>

#include "pipelines/whole_run.hpp"
#include "support/svd_checkpoint.hpp"

namespace t2v::test {

inline Request svd_request(const io::Json& run, const fs::path& image) {
  Request request;
  request.image = image;
  request.steps = run["steps"].get<int64_t>();
  request.cfg_min = run["cfg_min"].get<double>();
  request.cfg_scale = run["cfg_scale"].get<double>();
  request.cond_fps = run["cond_fps"].get<int64_t>();
  request.motion_bucket = run["motion_bucket"].get<int64_t>();
  request.noise_aug = run["noise_aug"].get<double>();
  request.seed = run["seed"].get<int64_t>();
  request.frames = run["frames"].get<int64_t>();
  request.width = run["width"].get<int64_t>();
  request.height = run["height"].get<int64_t>();
  if (run.contains("decode_chunk")) request.decode_chunk = run["decode_chunk"].get<int64_t>();
  if (run.contains("sampler")) request.sampler = run["sampler"].get<std::string>();
  if (run.contains("spacing")) request.spacing = run["spacing"].get<std::string>();
  return request;
}

inline WholeRunResult run_svd(const std::string& name) {
  const TempFolder folder;
  const io::Json& run = svd_document()["runs"][name];
  write_svd_checkpoint(folder.path() / "model");
  const fs::path image = write_picture(folder.path(), run["image"][0].get<int64_t>(), run["image"][1].get<int64_t>());
  return run_and_compare({.model = (folder.path() / "model").string(), .device = "cpu"}, svd_request(run, image),
                         "svd/svd.safetensors", name);
}

}  // namespace t2v::test
