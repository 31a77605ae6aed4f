# SPDX-License-Identifier: Apache-2.0
"""Goldens of whole runs of StableDiffusionPipeline and AnimateDiffPipeline, seed to pixels, on one tiny checkpoint.

Sizes are such that the same checkpoint can also be a single file in original names: GroupNorms of 32 groups, 64-wide
text heads, 8 heads (SD 1) or 64-wide ones (SD 2). Needs T2V_CLIP_TOKENIZER, as pipelines.py, and peft beside the packages of
scripts/versions.sh.

LoRAs are files in their trainers' naming, loaded by diffusers' load_lora_weights(). Their tensors come from the formula by
names that no trainer gives ("lora.LABEL.COMPONENT.MODULE.down"), so that tests can write the same LoRA in every naming.
"""
import json
import os
import pathlib
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file

from . import formula_weights as formula
from .pipelines import scheduler_class
from .unet2d import fill

UNET = dict(
    sample_size=8, block_out_channels=(64, 64), layers_per_block=1, norm_num_groups=32, cross_attention_dim=64,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
VAE = dict(
    in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 32, 64, 64), layers_per_block=1,
    norm_num_groups=32, sample_size=512, down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.18215)
TEXT = dict(
    vocab_size=49408, hidden_size=64, intermediate_size=128, num_attention_heads=1, max_position_embeddings=77,
    bos_token_id=0, eos_token_id=2, pad_token_id=1)
MODELS = {
    "sd1": dict(unet=dict(UNET, attention_head_dim=8), text=dict(TEXT, num_hidden_layers=3, hidden_act="quick_gelu"),
                pad_token="<|endoftext|>"),
    "sd2": dict(unet=dict(UNET, attention_head_dim=(1, 1), use_linear_projection=True),
                text=dict(TEXT, num_hidden_layers=2, hidden_act="gelu"), pad_token="!"),
    # A consistency model that takes the guidance scale as an input.
    "lcm": dict(unet=dict(UNET, attention_head_dim=8, time_cond_proj_dim=32),
                text=dict(TEXT, num_hidden_layers=3, hidden_act="quick_gelu"), pad_token="<|endoftext|>"),
}
# scheduler_config.json of stable-diffusion-v1-5, and of stable-diffusion-2-1.
PNDM = dict(
    _class_name="PNDMScheduler", beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085,
    num_train_timesteps=1000, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None,
    clip_sample=False)
DDIM_V = dict(PNDM, _class_name="DDIMScheduler", prediction_type="v_prediction")
LCM = dict(PNDM, _class_name="LCMScheduler")

PROMPT = "A red fox, running through deep snow!"
IMAGE = dict(prompt=PROMPT, negative_prompt="", steps=10, cfg_scale=7.5, seed=42, frames=1, width=128, height=96,
             model="sd1", scheduler=PNDM)
IMAGE_RUNS = {
    "sd1": {},
    "sd1_negative": dict(negative_prompt="blurry, watermark", steps=6, seed=7),
    "sd1_ddim_eta": dict(sampler="ddim", eta=0.7, steps=6),
    "sd1_euler": dict(sampler="euler", steps=8, cfg_scale=1.0),
    "sd1_dpmpp_2m_karras": dict(sampler="dpmpp_2m", sigmas="karras", steps=8),
    "sd1_rescale": dict(guidance_rescale=0.7, sampler="unipc", steps=6),
    "sd2_v": dict(model="sd2", scheduler=DDIM_V),
    "sd1_lora": dict(loras=[("style", 0.8)], steps=6),
    "sd1_lora_less_text": dict(loras=[("style", -0.5)], steps=4, sampler="euler_a"),
    "lcm_guidance_input": dict(model="lcm", scheduler=LCM, steps=4, cfg_scale=8.0, width=64, height=64),
}

ADAPTER = dict(block_out_channels=(64, 64), motion_layers_per_block=1, motion_num_attention_heads=8)
ADAPTERS = {
    "v1": dict(ADAPTER, motion_max_seq_length=24, use_motion_mid_block=False),
    "v2": dict(ADAPTER, motion_max_seq_length=32, use_motion_mid_block=True),
    "v3": dict(ADAPTER, motion_max_seq_length=32, use_motion_mid_block=False),
}
VIDEO = dict(IMAGE, frames=4, width=64, height=48, steps=6, adapter="v3")
VIDEO_RUNS = {
    "animate_v1": dict(adapter="v1", steps=4),
    "animate_v2": dict(adapter="v2"),
    "animate_v3": dict(steps=25),
    "animate_24_frames": dict(adapter="v1", frames=24, steps=2, width=32, height=32),
    "animate_one_frame": dict(frames=1, steps=4),
    "animate_odd_latent": dict(width=72, height=56, frames=3, steps=4),
    "animate_eta": dict(eta=0.7),
    "animate_euler_a": dict(sampler="euler_a"),
    "animate_dpmpp_2m_karras": dict(sampler="dpmpp_2m", sigmas="karras", steps=8),
    "animate_pndm": dict(sampler="pndm"),
    "animate_lcm": dict(recipe="AnimateLCM", steps=4, cfg_scale=1.5),
    # The original MotionLoRAs are for v2.
    "animate_motion_lora": dict(adapter="v2", loras=[("motion", 1.0)], steps=6),
    "animate_motion_lora_and_style": dict(adapter="v2", loras=[("motion", 0.6), ("style", 0.8)], steps=4),
    # As diffusers' documentation of LCM-LoRA has it: another scheduler, few steps, little guidance.
    "animate_lcm_lora": dict(loras=[("lcm", 1.0)], sampler="lcm", steps=4, cfg_scale=1.5),
    "animate_lcm_lora_unguided": dict(loras=[("lcm", 1.0)], sampler="lcm", steps=6, cfg_scale=1.0, frames=3),
    "animate_freeinit": dict(freeinit=3, steps=4),
    "animate_freeinit_fast": dict(freeinit=3, freeinit_fast=True, freeinit_filter="gaussian", steps=7, adapter="v2"),
    # With samplers that scale the noise diffusers' FreeInit scales it again each time; we don't.
    "animate_freeinit_ideal": dict(freeinit=2, freeinit_filter="ideal", freeinit_space=0.5, freeinit_time=0.3, steps=4),
    "animate_lightning": dict(recipe="AnimateDiff-Lightning", steps=4, cfg_scale=1.0),
}
WITH_FRAMES = ("sd1", "sd2_v", "animate_v2", "animate_v3", "animate_one_frame", "animate_lightning")


UNET_LORA = [
    f"{block}.attentions.{i}.{module}"
    for block, layers in (("down_blocks.0", 1), ("mid_block", 1), ("up_blocks.1", 2)) for i in range(layers)
    for module in ["proj_in", "proj_out"] + [
        f"transformer_blocks.0.{part}" for part in ["ff.net.0.proj", "ff.net.2"] + [
            f"{attention}.{projection}" for attention in ("attn1", "attn2")
            for projection in ("to_q", "to_k", "to_v", "to_out.0")]]]
RESNETS = ["down_blocks.0.resnets.0", "down_blocks.1.resnets.0", "mid_block.resnets.1", "up_blocks.0.resnets.1",
           "up_blocks.1.resnets.0"]
LCM_LORA = UNET_LORA + ["down_blocks.0.downsamplers.0.conv", "up_blocks.0.upsamplers.0.conv", "up_blocks.1.resnets.0.conv_shortcut"]
LCM_LORA += [f"{resnet}.{module}" for resnet in RESNETS for module in ("conv1", "conv2", "time_emb_proj")]
TEXT_LORA = [f"encoder.layers.{i}.{module}" for i in range(3) for module in (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")]
MOTION_LORA = [
    f"{block}.motion_modules.{i}.transformer_blocks.0.{attention}.{projection}"
    for block, layers in (("down_blocks.0", 1), ("down_blocks.1", 1), ("mid_block", 1), ("up_blocks.0", 2), ("up_blocks.1", 2))
    for i in range(layers) for attention in ("attn1", "attn2") for projection in ("to_q", "to_k", "to_v", "to_out.0")]
# label -> what it changes, and how its file spells it; alpha None: the file names none, and the scale is 1.
LORAS = {
    "style": dict(unet=UNET_LORA, text_encoder=TEXT_LORA, rank=3, alpha=2.0, naming="kohya"),
    "lcm": dict(unet=LCM_LORA, text_encoder=[], rank=4, alpha=2.0, naming="kohya"),
    "motion": dict(unet=MOTION_LORA, text_encoder=[], rank=2, alpha=None, naming="diffusers"),
}


def lora_modules(label, nets):
    """Modules with the shapes of their pairs."""
    spec, rows = LORAS[label], []
    for component in ("unet", "text_encoder"):
        for module in spec[component]:
            weight = nets[component].get_submodule(module).weight
            rank = spec["rank"]
            rows.append(dict(component=component, module=module, down=[rank, *weight.shape[1:]],
                             up=[weight.shape[0], rank, *[1] * (weight.dim() - 2)]))
    return rows


def write_lora(file, label, rows):
    spec, tensors = LORAS[label], {}
    for row in rows:
        is_text = row["component"] == "text_encoder"
        dotted = row["component"] + "." + "text_model." * is_text + row["module"]
        flat = ("lora_te_text_model_" if is_text else "lora_unet_") + row["module"].replace(".", "_")
        stem, down, up = ((flat, "lora_down", "lora_up") if spec["naming"] == "kohya" else (dotted, "lora.down", "lora.up"))
        for part, name in (("down", down), ("up", up)):
            source = f"lora.{label}.{row['component']}.{row['module']}.{part}"
            tensors[f"{stem}.{name}.weight"] = torch.from_numpy(formula.weight(source, row[part]))
        if spec["alpha"] is not None:
            tensors[f"{stem}.alpha"] = torch.tensor(spec["alpha"])
    save_file(tensors, file)


def add_loras(pipe, run, described):
    if not run.get("loras"):
        return
    with tempfile.TemporaryDirectory() as folder:
        for label, _ in run["loras"]:
            described[label] = dict(LORAS[label], modules=lora_modules(label, dict(unet=pipe.unet, text_encoder=pipe.text_encoder)))
            del described[label]["unet"], described[label]["text_encoder"]
            write_lora(f"{folder}/{label}.safetensors", label, described[label]["modules"])
            pipe.load_lora_weights(folder, weight_name=f"{label}.safetensors", adapter_name=label)
    pipe.set_adapters([label for label, _ in run["loras"]], [weight for _, weight in run["loras"]])


def nets_of(name):
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    spec = MODELS[name]
    nets = dict(unet=UNet2DConditionModel(**spec["unet"]).eval(), vae=AutoencoderKL(**VAE).eval(),
                text_encoder=CLIPTextModel(CLIPTextConfig(**spec["text"])).eval())
    manifests = {part: formula.tree(formula.fill(net)) for part, net in nets.items()}
    tokenizer = CLIPTokenizer.from_pretrained(os.environ["T2V_CLIP_TOKENIZER"], pad_token=spec["pad_token"],
                                              model_max_length=77)
    configs = dict(
        unet=dict(_class_name="UNet2DConditionModel", **spec["unet"]), vae=dict(_class_name="AutoencoderKL", **VAE),
        text_encoder=dict(architectures=["CLIPTextModel"], model_type="clip_text_model", **spec["text"]))
    return dict(nets, tokenizer=tokenizer), dict(tensors=manifests, configs=configs, pad_token=spec["pad_token"],
                                              model_max_length=77)


def swapped(scheduler, run):
    """The scheduler that the run's sampler makes of the pipeline's own."""
    extra = dict(use_karras_sigmas=True) if run.get("sigmas") == "karras" else {}
    if run.get("sampler") == "ddim":
        import diffusers

        return diffusers.DDIMScheduler.from_config(scheduler.config)
    return scheduler_class(run["sampler"]).from_config(scheduler.config, **extra) if "sampler" in run else scheduler


def animate_scheduler(run):
    """As diffusers' documentation of AnimateDiff, AnimateLCM and AnimateDiff-Lightning makes them of a base model's."""
    import diffusers

    base = dict(run["scheduler"])
    if run.get("recipe") == "AnimateLCM":
        return diffusers.LCMScheduler.from_config(base, beta_schedule="linear")
    if run.get("recipe") == "AnimateDiff-Lightning":
        return diffusers.EulerDiscreteScheduler.from_config(base, timestep_spacing="trailing", beta_schedule="linear")
    return diffusers.DDIMScheduler.from_config(
        base, clip_sample=False, timestep_spacing="linspace", beta_schedule="linear", steps_offset=1)


def arguments_of(run):
    return dict(
        prompt=run["prompt"], negative_prompt=run["negative_prompt"], num_inference_steps=run["steps"],
        guidance_scale=run["cfg_scale"], eta=run.get("eta", 0.0), height=run["height"], width=run["width"],
        output_type="latent", generator=torch.Generator("cpu").manual_seed(run["seed"]))


def run_image(parts, run, loras):
    import diffusers
    from diffusers import StableDiffusionPipeline

    scheduler = getattr(diffusers, run["scheduler"]["_class_name"]).from_config(run["scheduler"])
    pipe = StableDiffusionPipeline(scheduler=scheduler, safety_checker=None, feature_extractor=None,
                                   requires_safety_checker=False, **parts)
    pipe.scheduler = swapped(pipe.scheduler, run)
    pipe.set_progress_bar_config(disable=True)
    add_loras(pipe, run, loras)
    latents = pipe(guidance_rescale=run.get("guidance_rescale", 0.0), **arguments_of(run)).images
    if run.get("loras"):
        pipe.unload_lora_weights()
    image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return latents, pipe.image_processor.postprocess(image, output_type="np")


def run_video(parts, adapter, run, loras):
    from diffusers import AnimateDiffPipeline

    pipe = AnimateDiffPipeline(motion_adapter=adapter, scheduler=swapped(animate_scheduler(run), run), **parts)
    pipe.set_progress_bar_config(disable=True)
    add_loras(pipe, run, loras)
    if "freeinit" in run:
        pipe.enable_free_init(
            num_iters=run["freeinit"], use_fast_sampling=run.get("freeinit_fast", False),
            method=run.get("freeinit_filter", "butterworth"), spatial_stop_frequency=run.get("freeinit_space", 0.25),
            temporal_stop_frequency=run.get("freeinit_time", 0.25))
    latents = pipe(num_frames=run["frames"], **arguments_of(run)).frames
    if run.get("loras"):
        pipe.unload_lora_weights()
    return latents, pipe.video_processor.postprocess_video(pipe.decode_latents(latents), output_type="np")[0]


@torch.no_grad()
def main(out_dir):
    import diffusers
    import transformers
    from diffusers import MotionAdapter

    torch.manual_seed(0)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    models, documents = {}, {}
    for name in MODELS:
        models[name], documents[name] = nets_of(name)
    adapters, adapter_documents = {}, {}
    for name, config in ADAPTERS.items():
        adapters[name] = MotionAdapter(**config).eval()
        manifest = fill(adapters[name], with_positions=name == "v2")
        adapter_documents[name] = dict(config=dict(_class_name="MotionAdapter", **config), tensors=formula.tree(manifest))

    outputs, runs, loras = {}, {}, {}
    for name, changes in {**IMAGE_RUNS, **VIDEO_RUNS}.items():
        run = dict(VIDEO if name in VIDEO_RUNS else IMAGE, **changes)
        parts = models[run["model"]]
        latents, frames = (run_video(parts, adapters[run["adapter"]], run, loras) if name in VIDEO_RUNS
                           else run_image(parts, run, loras))
        assert torch.isfinite(latents).all(), name
        frames = np.round(frames * 255).astype(np.uint8)
        outputs[f"{name}.latents"] = latents.contiguous()
        if name in WITH_FRAMES:
            outputs[f"{name}.frames"] = torch.from_numpy(np.ascontiguousarray(frames))
        runs[name] = run
        print(f"{name}: latents rms {latents.pow(2).mean().sqrt():.3f}, frames {frames.mean():.1f} +- {frames.std():.1f}")

    versions = dict(torch=torch.__version__, diffusers=diffusers.__version__, transformers=transformers.__version__)
    save_file(outputs, out_dir / "stable_diffusion.safetensors", metadata=versions)
    document = dict(versions=versions, runs=runs, models=documents, adapters=adapter_documents, loras=loras)
    (out_dir / "stable_diffusion.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
