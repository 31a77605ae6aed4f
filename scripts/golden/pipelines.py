# SPDX-License-Identifier: Apache-2.0
"""Goldens of whole runs: TextToVideoSDPipeline and VideoToVideoSDPipeline from diffusers, seed to pixels.

The checkpoint is tiny and its weights come from the formula; tests rebuild the same folder from the manifests. The
tokenizer is CLIP's own: pass its folder (vocab.json, merges.txt) with T2V_CLIP_TOKENIZER.
"""
import json
import os
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

from . import formula_weights as formula

UNET = dict(
    sample_size=8, in_channels=4, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
    down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    cross_attention_dim=32, attention_head_dim=8, norm_num_groups=8)
VAE = dict(
    in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(16, 16, 16, 16), layers_per_block=1,
    norm_num_groups=4, sample_size=64, down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.18215)
TEXT = dict(
    vocab_size=49408, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
    max_position_embeddings=77, hidden_act="gelu", bos_token_id=49406, eos_token_id=49407, pad_token_id=0)
# The published ModelScope scheduler_config.json, key for key.
SCHEDULER = dict(
    _class_name="DDIMScheduler", beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
    clip_sample_range=1.0, dynamic_thresholding_ratio=0.995, num_train_timesteps=1000, prediction_type="epsilon",
    sample_max_value=1.0, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, thresholding=False,
    trained_betas=None)

PROMPT = "A red fox, running through deep snow!"
BASE = dict(prompt=PROMPT, negative_prompt="", steps=25, cfg_scale=9.0, seed=42, frames=4, width=64, height=48)

# name -> what differs from BASE; `sampler` is the command line's name.
RUNS = {
    "default": {},
    "negative": dict(negative_prompt="blurry, watermark", steps=6, seed=7),
    "no_guidance": dict(cfg_scale=1.0, steps=8),
    "eta": dict(eta=0.7, steps=6),
    "one_frame": dict(frames=1, steps=4),
    "odd_latent": dict(width=72, height=56, frames=3, steps=4),
    "v_zero_snr": dict(scheduler=dict(prediction_type="v_prediction", rescale_betas_zero_snr=True,
                                      timestep_spacing="trailing"), steps=8),
    "ddpm": dict(sampler="ddpm", steps=6),
    "pndm": dict(sampler="pndm", steps=6),
    "euler": dict(sampler="euler", steps=8),
    "euler_a": dict(sampler="euler_a", steps=6),
    "heun": dict(sampler="heun", steps=5),
    "dpmpp_2m": dict(sampler="dpmpp_2m", steps=25),
    "dpmpp_2m_karras": dict(sampler="dpmpp_2m", sigmas="karras", steps=8),
    "dpmpp_2m_sde": dict(sampler="dpmpp_2m_sde", steps=6),
    "unipc": dict(sampler="unipc", steps=8),
    "lcm": dict(sampler="lcm", steps=4, cfg_scale=1.5),
    "tcd": dict(sampler="tcd", steps=4, cfg_scale=1.5, eta=0.3),
    "deis": dict(sampler="deis", steps=8),
    "lms": dict(sampler="lms", steps=8),
    "video": dict(strength=0.6, cfg_scale=15.0, steps=10, frames=3, video=True),
}

WITH_FRAMES = ("default", "one_frame", "odd_latent", "dpmpp_2m", "video")  # the others would only add kilobytes


def scheduler_class(name):
    import diffusers

    classes = {
        "ddpm": "DDPMScheduler", "pndm": "PNDMScheduler", "euler": "EulerDiscreteScheduler",
        "euler_a": "EulerAncestralDiscreteScheduler", "heun": "HeunDiscreteScheduler",
        "dpmpp_2m": "DPMSolverMultistepScheduler", "dpmpp_2m_sde": "DPMSolverMultistepScheduler",
        "unipc": "UniPCMultistepScheduler", "lcm": "LCMScheduler", "tcd": "TCDScheduler",
        "deis": "DEISMultistepScheduler", "lms": "LMSDiscreteScheduler"}
    return getattr(diffusers, classes[name])


def make_scheduler(run):
    import diffusers

    config = dict(SCHEDULER, **run.get("scheduler", {}))
    extra = {}
    if run.get("sigmas") == "karras":
        extra["use_karras_sigmas"] = True
    if run.get("sampler") == "dpmpp_2m_sde":
        extra["algorithm_type"] = "sde-dpmsolver++"
    if "sampler" not in run:
        return config, diffusers.DDIMScheduler.from_config(config)
    return config, scheduler_class(run["sampler"]).from_config(config, **extra)


def input_video(run):
    """Frames [F, H, W, 3] uint8 from the formula."""
    count = run["frames"] * run["height"] * run["width"] * 3
    values = formula.uniform("video", count).reshape(run["frames"], run["height"], run["width"], 3)
    smooth = values.cumsum(axis=1).cumsum(axis=2)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.round(smooth * 255).astype(np.uint8)


def run_one(parts, run):
    from diffusers import TextToVideoSDPipeline, VideoToVideoSDPipeline
    from PIL import Image

    config, scheduler = make_scheduler(run)
    arguments = dict(
        prompt=run["prompt"], negative_prompt=run["negative_prompt"], num_inference_steps=run["steps"],
        guidance_scale=run["cfg_scale"], eta=run.get("eta", 0.0), output_type="latent",
        generator=torch.Generator("cpu").manual_seed(run["seed"]))
    if run.get("video"):
        pipe = VideoToVideoSDPipeline(scheduler=scheduler, **parts)
        arguments["video"] = [Image.fromarray(frame) for frame in input_video(run)]
        arguments["strength"] = run["strength"]
    else:
        pipe = TextToVideoSDPipeline(scheduler=scheduler, **parts)
        arguments.update(height=run["height"], width=run["width"], num_frames=run["frames"])
    pipe.set_progress_bar_config(disable=True)
    latents = pipe(**arguments).frames
    video = pipe.video_processor.postprocess_video(pipe.decode_latents(latents), output_type="np")[0]
    return config, latents, np.round(video * 255).astype(np.uint8)


@torch.no_grad()
def main(out_dir):
    import diffusers
    import transformers
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    nets = dict(
        unet=UNet3DConditionModel(**UNET).eval(), vae=AutoencoderKL(**VAE).eval(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT)).eval())
    manifests = {name: formula.tree(formula.fill(net)) for name, net in nets.items()}
    tokenizer = CLIPTokenizer.from_pretrained(os.environ["T2V_CLIP_TOKENIZER"], pad_token="!")
    parts = dict(nets, tokenizer=tokenizer)

    outputs, cases = {}, {}
    for name, changes in RUNS.items():
        run = dict(BASE, **changes)
        config, latents, frames = run_one(parts, run)
        assert torch.isfinite(latents).all(), name
        outputs[f"{name}.latents"] = latents.contiguous()
        if name in WITH_FRAMES:
            outputs[f"{name}.frames"] = torch.from_numpy(np.ascontiguousarray(frames))
        run["scheduler"] = config
        cases[name] = run
        print(f"{name}: latents rms {latents.pow(2).mean().sqrt():.3f}, frames {frames.mean():.1f} +- {frames.std():.1f}")

    versions = dict(torch=torch.__version__, diffusers=diffusers.__version__, transformers=transformers.__version__)
    save_file(outputs, out_dir / "pipelines.safetensors", metadata=versions)
    text = dict(
        versions=versions, runs=cases, tensors=manifests,
        configs=dict(
            unet=dict(_class_name="UNet3DConditionModel", **UNET), vae=dict(_class_name="AutoencoderKL", **VAE),
            text_encoder=dict(architectures=["CLIPTextModel"], model_type="clip_text_model", **TEXT)))
    (out_dir / "pipelines.json").write_text(json.dumps(text, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(__file__).parents[2] / "tests/golden/pipelines")
