# SPDX-License-Identifier: Apache-2.0
"""Goldens of what long clips begin from: FreeNoise's rescheduled noise and FreeInit's filters and mixing, by diffusers."""
import json

import diffusers
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines.free_init_utils import FreeInitMixin
from diffusers.pipelines.free_noise_utils import AnimateDiffFreeNoiseMixin
from safetensors.torch import save_file

# name -> frames, height, width of the latents, window, stride of the shuffle
FREENOISE = {
    "whole_chunks": dict(frames=16, window=8, stride=2),
    "cut_chunk": dict(frames=15, window=6, stride=4),
    "wide": dict(frames=40, window=16, stride=4),
}
FILTERS = {
    "default": dict(shape=(8, 6, 5)),
    "order_2": dict(shape=(5, 4, 7), order=2, spatial_stop_frequency=0.4, temporal_stop_frequency=0.2),
    "gaussian": dict(shape=(6, 5, 4), method="gaussian", spatial_stop_frequency=0.3, temporal_stop_frequency=0.5),
    "ideal": dict(shape=(6, 4, 5), method="ideal", spatial_stop_frequency=0.25, temporal_stop_frequency=0.25),
    "closed": dict(shape=(3, 2, 2), temporal_stop_frequency=0.0),
}
SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, steps_offset=1)
SEED = 11


class Pipe(FreeInitMixin, AnimateDiffFreeNoiseMixin):
    vae_scale_factor = 1


def generator():
    return torch.Generator("cpu").manual_seed(SEED)


def freenoise(case):
    pipe = Pipe()
    pipe._free_noise_context_length = case["window"]
    pipe._free_noise_context_stride = case["stride"]
    pipe._free_noise_noise_type = "shuffle_context"
    return pipe._prepare_latents_free_noise(1, 2, case["frames"], 2, 3, torch.float32, "cpu", generator())


def free_init(case):
    """The filter, and the second iteration's noise from a made-up clip."""
    options = {name: value for name, value in case.items() if name != "shape"}
    pipe = Pipe()
    pipe.enable_free_init(num_iters=2, **options)
    pipe.scheduler = DDIMScheduler(**SCHEDULER)
    shape = (1, 2, *case["shape"])
    random = generator()
    noise, clip = (torch.randn(shape, generator=random) for _ in range(2))
    pipe._apply_free_init(noise, 0, 4, "cpu", torch.float32, random)
    again, _ = pipe._apply_free_init(clip, 1, 4, "cpu", torch.float32, random)
    low_pass = pipe._get_free_init_freq_filter(
        (1, *case["shape"]), "cpu", pipe._free_init_method, pipe._free_init_order,
        pipe._free_init_spatial_stop_frequency, pipe._free_init_temporal_stop_frequency)[0]
    return low_pass, again


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"freenoise.{name}": freenoise(case).contiguous() for name, case in FREENOISE.items()}
    for name, case in FILTERS.items():
        tensors[f"filter.{name}"], tensors[f"again.{name}"] = (part.contiguous() for part in free_init(case))
    versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
    save_file(tensors, folder / "values.safetensors", metadata=versions)
    cases = dict(versions=versions, seed=SEED, scheduler=SCHEDULER, freenoise=FREENOISE, free_init=FILTERS)
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
