# SPDX-License-Identifier: Apache-2.0
"""Goldens of Stable Video Diffusion from diffusers: its networks, its image conditioning, and whole runs.

Weights and images come from the formula (formula_weights.py), so only configs, names and shapes (svd.json) and results
(svd.safetensors) are kept. diffusers fixes 32 groups for every GroupNorm of these classes, so widths are multiples of 32.
"""
import json
import pathlib
import tempfile

import numpy as np
import PIL
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from . import formula_weights as formula

CROSS_DOWN, DOWN = "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"
CROSS_UP, UP = "CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"

UNETS = {
    # The real layout in small.
    "basic": dict(
        config=dict(
            block_out_channels=(32, 64), layers_per_block=2, num_attention_heads=(4, 8), cross_attention_dim=24,
            addition_time_embed_dim=8, projection_class_embeddings_input_dim=24, num_frames=5, sample_size=8,
            down_block_types=(CROSS_DOWN, DOWN), up_block_types=(UP, CROSS_UP)),
        sample=(2, 5, 8, 8, 8), timestep=1.6377, added_time_ids=[[6.0, 127.0, 0.02], [11.0, 30.0, 0.5]]),
    # Lists instead of numbers, several transformer layers, sizes that halving does not divide.
    "lists": dict(
        config=dict(
            in_channels=6, out_channels=3, block_out_channels=(32, 64, 96), layers_per_block=(1, 2, 1),
            num_attention_heads=(2, 4, 3), cross_attention_dim=(16, 16, 16), transformer_layers_per_block=(2, 1, 2),
            addition_time_embed_dim=6, projection_class_embeddings_input_dim=12, num_frames=3,
            down_block_types=(CROSS_DOWN, CROSS_DOWN, CROSS_DOWN), up_block_types=(CROSS_UP, UP, CROSS_UP)),
        sample=(1, 3, 6, 10, 14), timestep=-1.5536, added_time_ids=[[6.0, 255.0]]),
    "single_frame": dict(
        config=dict(
            block_out_channels=(64, 32), layers_per_block=1, num_attention_heads=2, cross_attention_dim=8,
            addition_time_embed_dim=4, projection_class_embeddings_input_dim=12, num_frames=14,
            down_block_types=(DOWN, CROSS_DOWN), up_block_types=(CROSS_UP, UP)),
        sample=(2, 1, 8, 6, 4), timestep=0.0, added_time_ids=[[6.0, 127.0, 0.02]] * 2),
}

VAES = {
    "basic": dict(config=dict(block_out_channels=(32, 64), layers_per_block=2, scaling_factor=0.18215, sample_size=16),
                  image=(1, 3, 18, 14), latents=(5, 4, 5, 7), chunks=(5, 2)),
    # diffusers runs one attention at most, whatever the number of layers: none with one layer, one with three.
    "one_layer": dict(config=dict(block_out_channels=(32, 32, 32), layers_per_block=1, latent_channels=5, in_channels=1,
                                  out_channels=2, force_upcast=False),
                      image=(1, 1, 20, 12), latents=(3, 5, 3, 4), chunks=(3, 1)),
    "three_layers": dict(config=dict(block_out_channels=(64,), layers_per_block=3), image=(2, 3, 6, 8),
                         latents=(4, 4, 6, 4), chunks=(4,)),
}

VISION = {
    "gelu": dict(hidden_size=32, intermediate_size=48, projection_dim=24, num_hidden_layers=3, num_attention_heads=4,
                 image_size=28, patch_size=7, hidden_act="gelu"),
    # A side that patches do not fill, and today's default activation.
    "quick_gelu": dict(hidden_size=48, intermediate_size=40, projection_dim=16, num_hidden_layers=2,
                       num_attention_heads=2, image_size=30, patch_size=8, num_channels=2, hidden_act="quick_gelu",
                       layer_norm_eps=1e-3),
}

# Image resizing as Pillow does it: name -> filter, input width and height, output width and height.
PILLOW = {
    "lanczos_down": ("LANCZOS", (61, 45), (24, 16)), "lanczos_up": ("LANCZOS", (7, 9), (40, 24)),
    "lanczos_mixed": ("LANCZOS", (50, 6), (16, 24)), "lanczos_width_only": ("LANCZOS", (33, 16), (16, 16)),
    "lanczos_height_only": ("LANCZOS", (16, 9), (16, 24)), "lanczos_from_one_pixel": ("LANCZOS", (1, 1), (8, 8)),
    "lanczos_huge_step": ("LANCZOS", (700, 300), (8, 8)), "bicubic": ("BICUBIC", (41, 30), (24, 40)),
    "bilinear": ("BILINEAR", (41, 30), (24, 40)), "box": ("BOX", (41, 30), (24, 40)),
}
# The blur before CLIP's input size: input width and height -> output width and height.
ANTIALIASED = {"down": ((90, 70), (16, 12)), "up": ((10, 8), (20, 28)), "mixed": ((200, 9), (14, 14)),
               "same": ((16, 16), (16, 16)), "two_pixels": ((2, 2), (9, 5))}

UNET = dict(
    UNETS["basic"]["config"], num_frames=4, sample_size=16, layers_per_block=1, cross_attention_dim=32)
VAE = dict(block_out_channels=(32, 32, 64), layers_per_block=2, latent_channels=4, down_block_types=("DownEncoderBlock2D",) * 3,
           sample_size=64, scaling_factor=0.18215, force_upcast=True)
ENCODER = dict(hidden_size=32, intermediate_size=64, projection_dim=32, num_hidden_layers=2, num_attention_heads=4,
               image_size=224, patch_size=56, hidden_act="gelu")
# The published scheduler_config.json and preprocessor_config.json, key for key.
SCHEDULER = dict(
    _class_name="EulerDiscreteScheduler", beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085,
    clip_sample=False, interpolation_type="linear", num_train_timesteps=1000, prediction_type="v_prediction",
    set_alpha_to_one=False, sigma_max=700.0, sigma_min=0.002, skip_prk_steps=True, steps_offset=1,
    timestep_spacing="leading", timestep_type="continuous", trained_betas=None, use_karras_sigmas=True)
EXTRACTOR = dict(
    crop_size=dict(height=224, width=224), do_center_crop=True, do_convert_rgb=True, do_normalize=True, do_rescale=True,
    do_resize=True, feature_extractor_type="CLIPFeatureExtractor", image_mean=[0.48145466, 0.4578275, 0.40821073],
    image_processor_type="CLIPImageProcessor", image_std=[0.26862954, 0.26130258, 0.27577711], resample=3,
    rescale_factor=0.00392156862745098, size=dict(shortest_edge=224))

BASE = dict(steps=5, cfg_min=1.0, cfg_scale=3.0, cond_fps=7, motion_bucket=127, noise_aug=0.02, seed=42, frames=4,
            width=64, height=48, image=[64, 48])
# name -> what differs from BASE
RUNS = {
    "svd_default": {},
    "svd_25_steps": dict(steps=25, seed=1),
    "svd_conditions": dict(cond_fps=12, motion_bucket=30, noise_aug=0.3, cfg_min=1.5, cfg_scale=4.5, seed=7),
    "svd_other_image_size": dict(image=[301, 155], seed=3),
    "svd_small_image": dict(image=[20, 33], steps=3, noise_aug=0.0),
    "svd_decode_chunk": dict(frames=5, decode_chunk=2, steps=3, seed=11),
    "svd_odd_latent": dict(width=72, height=40, image=[72, 40], frames=3, steps=3),
    "svd_14_frames": dict(frames=14, steps=2, width=40, height=32, image=[40, 32]),
    # diffusers fails with one frame and a ramp from 1: its guidance then counts as off halfway.
    "svd_one_frame": dict(frames=1, cfg_min=2.0, steps=3),
    "svd_no_guidance": dict(cfg_scale=1.0, steps=3),
    "svd_falling_ramp": dict(cfg_min=4.0, cfg_scale=1.5, steps=3),
    "svd_euler_a": dict(sampler="euler_a", steps=4),
    "svd_trailing": dict(spacing="trailing", steps=4),
}
WITH_FRAMES = ("svd_default", "svd_other_image_size", "svd_decode_chunk", "svd_one_frame")


def tensor(name, shape, scale=1.0):
    return torch.from_numpy(formula.model_input(name, shape)) * scale


def picture(name, size):
    """A smooth RGB image from the formula; tests/support/formula_picture.hpp makes the same one."""
    width, height = size
    u = formula.uniform(name, 12)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for c in range(3):
        a, b, p, q = u[4 * c : 4 * c + 4]
        wave = (x * (1 + a) + y * (1 + b)) * 7 + x * y * p + 50 * q
        channels.append(np.mod(np.floor(np.abs(wave)), 256))
    return np.stack(channels, -1).astype(np.uint8)


def saved(module):
    """Config and names as save_pretrained writes them."""
    with tempfile.TemporaryDirectory() as folder:
        module.save_pretrained(folder, safe_serialization=True)
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        (file,) = pathlib.Path(folder).glob("*.safetensors")
        with safe_open(file, "pt") as tensors:
            return config, {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}


def filled(module):
    manifest = formula.fill(module.eval())
    config, names = saved(module)
    assert names == manifest
    return dict(config=config, tensors=formula.tree(manifest))


def unets(outputs):
    from diffusers import UNetSpatioTemporalConditionModel

    cases = {}
    for name, spec in UNETS.items():
        net = UNetSpatioTemporalConditionModel(**spec["config"])
        case = cases[name] = dict(filled(net), **{k: v for k, v in spec.items() if k != "config"})
        width = spec["config"]["cross_attention_dim"]
        case["encoder_hidden_states"] = (spec["sample"][0], 1, width if isinstance(width, int) else width[0])
        outputs[f"unet.{name}"] = net(
            tensor("sample", spec["sample"]), spec["timestep"],
            tensor("encoder_hidden_states", case["encoder_hidden_states"]), torch.tensor(spec["added_time_ids"])).sample
    return cases


def vaes(outputs):
    from diffusers import AutoencoderKLTemporalDecoder

    cases = {}
    for name, spec in VAES.items():
        blocks = len(spec["config"]["block_out_channels"])
        net = AutoencoderKLTemporalDecoder(**spec["config"], down_block_types=("DownEncoderBlock2D",) * blocks)
        cases[name] = dict(filled(net), **{k: v for k, v in spec.items() if k != "config"})
        outputs[f"vae.{name}.mean"] = net.encode(tensor("image", spec["image"])).latent_dist.mode()
        latents = tensor("latents", spec["latents"])
        for chunk in spec["chunks"]:
            parts = [net.decode(part, num_frames=len(part)).sample for part in latents.split(chunk)]
            outputs[f"vae.{name}.decoded.{chunk}"] = torch.cat(parts)
    return cases


def vision(outputs):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    cases = {}
    for name, config in VISION.items():
        net = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
        case = cases[name] = filled(net)
        case["pixels"] = (2, config.get("num_channels", 3), config["image_size"], config["image_size"])
        out = net(tensor("pixels", case["pixels"]), output_hidden_states=True)
        outputs[f"vision.{name}"] = out.image_embeds
        outputs[f"vision.{name}.penultimate"] = out.hidden_states[-2]
    return cases


def layers(outputs):
    """Single layers at quiet inputs, where a wrong eps shows."""
    from diffusers.models.resnet import SpatioTemporalResBlock
    from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

    cases = {}
    quiet = tensor("x", (6, 64, 5, 3), 1e-3)
    temb, indicator = tensor("temb", (2, 24)), torch.zeros(2, 3)
    blocks = {
        "resnet": SpatioTemporalResBlock(64, 64, temb_channels=24, eps=1e-6),
        "resnet_shortcut": SpatioTemporalResBlock(64, 32, temb_channels=24, eps=1e-5),
        "resnet_vae": SpatioTemporalResBlock(64, 96, temb_channels=None, eps=1e-6, temporal_eps=1e-5, merge_factor=0.0,
                                             merge_strategy="learned", switch_spatial_to_temporal_mix=True),
    }
    for name, block in blocks.items():
        cases[name] = formula.tree(formula.fill(block.eval()))
        time = None if name == "resnet_vae" else temb.repeat_interleave(3, 0)
        outputs[f"layer.{name}"] = block(quiet, time, image_only_indicator=indicator)
    block = TransformerSpatioTemporalModel(4, 16, in_channels=64, num_layers=2, cross_attention_dim=10)
    cases["transformer"] = formula.tree(formula.fill(block.eval()))
    context = tensor("context", (2, 1, 10)).repeat_interleave(3, 0)
    outputs["layer.transformer"] = block(quiet, context, indicator, return_dict=False)[0]
    return cases


def resizing(outputs):
    from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as pipeline

    for name, (kind, size, wanted) in PILLOW.items():
        image = Image.fromarray(picture(name, size)).resize(wanted, getattr(Image.Resampling, kind))
        outputs[f"pillow.{name}"] = torch.from_numpy(np.array(image))
    for name, (size, wanted) in ANTIALIASED.items():
        image = torch.from_numpy(picture(name, size).astype(np.float32) / 255.0).permute(2, 0, 1)[None] * 2 - 1
        outputs[f"antialiased.{name}"] = pipeline._resize_with_antialiasing(image, wanted[::-1])
    return dict(
        pillow={name: dict(filter=kind.lower(), size=size, wanted=wanted) for name, (kind, size, wanted) in PILLOW.items()},
        antialiased={name: dict(size=size, wanted=wanted) for name, (size, wanted) in ANTIALIASED.items()})


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def renamed(leaf, table):
    for ours, theirs in table.items():
        if leaf.startswith(ours + "."):
            return theirs + leaf[len(ours):]
    return leaf


def original_unet_name(name, layers, levels):
    """The name in Stability's sgm of a tensor of UNetSpatioTemporalConditionModel, as VideoUNet builds its lists."""
    for ours, theirs in {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
                         "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
                         "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}.items():
        if name.startswith(ours + "."):
            return theirs + name[len(ours):]
    side, *rest = name.split(".")
    if side == "mid_block":
        kind, index, *leaf = rest
        where = f"middle_block.{2 * int(index) if kind == 'resnets' else 1}"
    else:
        block, kind, index, *leaf = rest
        block, index = int(block), int(index)
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.op." + leaf[-1]
        first = 1 + block * (layers + 1) if side == "down_blocks" else block * (layers + 1)
        part = "input_blocks" if side == "down_blocks" else "output_blocks"
        if kind == "upsamplers":
            return (f"output_blocks.{first + layers}", leaf[-1])  # its index depends on what is before it
        where = f"{part}.{first + index}.{0 if kind == 'resnets' else 1}"
    leaf = ".".join(leaf)
    if kind == "attentions":
        leaf = renamed(leaf, {"temporal_transformer_blocks": "time_stack", "time_pos_embed.linear_1": "time_pos_embed.0",
                              "time_pos_embed.linear_2": "time_pos_embed.2"})
    elif leaf.startswith("temporal_res_block."):
        leaf = "time_stack." + renamed(leaf[len("temporal_res_block."):], RESNET)
    elif leaf.startswith("spatial_res_block."):
        leaf = renamed(leaf[len("spatial_res_block."):], RESNET)
    return f"{where}.{leaf}"


def original_vae_name(name, levels):
    half, rest = name.split(".", 1)
    if half == "quant_conv":
        return name
    if rest.startswith("time_conv_out."):
        return "decoder.conv_out.time_mix_conv" + rest[len("time_conv_out"):]
    if rest.startswith("conv_norm_out."):
        return f"{half}.norm_out" + rest[len("conv_norm_out"):]
    parts = rest.split(".")
    if parts[0] not in ("mid_block", "down_blocks", "up_blocks"):
        return name
    if parts[0] == "mid_block":
        if parts[1] == "attentions":
            return f"{half}.mid.attn_1." + renamed(".".join(parts[3:]), VAE_ATTENTION)
        where, leaf = f"{half}.mid.block_{int(parts[2]) + 1}", ".".join(parts[3:])
    else:
        down = parts[0] == "down_blocks"
        where = f"{half}.down.{parts[1]}" if down else f"{half}.up.{levels - 1 - int(parts[1])}"
        if parts[2].endswith("samplers"):
            return f"{where}.{'downsample' if down else 'upsample'}.conv.{parts[-1]}"
        where, leaf = f"{where}.block.{parts[3]}", ".".join(parts[4:])
    if leaf == "time_mixer.mix_factor":
        return where + ".mix_factor"
    if leaf.startswith("temporal_res_block."):
        return f"{where}.time_stack." + renamed(leaf[len("temporal_res_block."):], RESNET)
    leaf = leaf.removeprefix("spatial_res_block.")
    return f"{where}." + renamed(leaf, {"conv_shortcut": "nin_shortcut"})


OPENCLIP = {"class_embedding": "class_embedding", "patch_embedding.weight": "conv1.weight",
            "position_embedding.weight": "positional_embedding"}
OPENCLIP_BLOCK = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
                  "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def original_vision_name(name):
    """A name, or for q, k and v the name of the tensor that holds the three."""
    rest = name.removeprefix("vision_model.")
    if rest == "visual_projection.weight":
        return "proj"
    if rest.startswith("embeddings."):
        return OPENCLIP[rest.removeprefix("embeddings.")]
    if rest.startswith("encoder.layers."):
        index, leaf = rest.removeprefix("encoder.layers.").split(".", 1)
        for part in "qkv":
            if leaf.startswith(f"self_attn.{part}_proj."):
                return f"transformer.resblocks.{index}.attn.in_proj_" + leaf.rsplit(".", 1)[1]
        return f"transformer.resblocks.{index}." + renamed(leaf, OPENCLIP_BLOCK)
    return renamed(rest, {"pre_layrnorm": "ln_pre", "post_layernorm": "ln_post"})


def flat(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def single_file(checkpoint):
    """The published single file in small: original name -> component and tensors that it holds, one after the other."""
    names = {}
    unet = sorted(flat(checkpoint["unet"]["tensors"]))
    config = checkpoint["unet"]["config"]
    levels = len(config["block_out_channels"])
    originals = {name: original_unet_name(name, config["layers_per_block"], levels) for name in unet}
    for name, original in originals.items():
        if isinstance(original, tuple):  # behind the resnet, and the attention where there is one
            block, leaf = original
            place = 2 if any(isinstance(o, str) and o.startswith(f"{block}.1.") for o in originals.values()) else 1
            original = f"{block}.{place}.conv.{leaf}"
        names.setdefault("model.diffusion_model." + original, ["unet"]).append(name)
    vae = checkpoint["vae"]
    for name in flat(vae["tensors"]):
        original = original_vae_name(name, len(vae["config"]["block_out_channels"]))
        if name.startswith("decoder."):
            names["first_stage_model." + original] = ["vae", name]
        else:
            names["conditioner.embedders.3.encoder." + original] = ["vae", name]
    tower = "conditioner.embedders.0.open_clip.model.visual."
    for name in flat(checkpoint["image_encoder"]["tensors"]):
        names.setdefault(tower + original_vision_name(name), ["image_encoder"]).append(name)
    return {original: [kind, *sorted(parts, key=lambda n: "qkv".find(n.split("self_attn.")[-1][:1]))]
            for original, (kind, *parts) in names.items()}


def run_one(parts, run):
    import diffusers
    from transformers import CLIPImageProcessor

    classes = {"euler": diffusers.EulerDiscreteScheduler, "euler_a": diffusers.EulerAncestralDiscreteScheduler}
    extra = {"timestep_spacing": run["spacing"]} if "spacing" in run else {}
    scheduler = classes[run.get("sampler", "euler")].from_config(SCHEDULER, **extra)
    pipe = diffusers.StableVideoDiffusionPipeline(
        scheduler=scheduler, feature_extractor=CLIPImageProcessor(**EXTRACTOR), **parts)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(run["seed"])
    if run.get("sampler"):  # the pipeline passes no generator on: noise inside the steps would be the global one's
        step = scheduler.step
        scheduler.step = lambda *args, **kwargs: step(*args, **kwargs, generator=generator)
    latents = pipe(
        Image.fromarray(picture("image", run["image"])), height=run["height"], width=run["width"], num_frames=run["frames"],
        num_inference_steps=run["steps"], min_guidance_scale=run["cfg_min"], max_guidance_scale=run["cfg_scale"],
        fps=run["cond_fps"], motion_bucket_id=run["motion_bucket"], noise_aug_strength=run["noise_aug"],
        output_type="latent", generator=generator).frames
    frames = pipe.decode_latents(latents, run["frames"], run.get("decode_chunk", run["frames"]))
    video = pipe.video_processor.postprocess_video(frames, output_type="np")[0]
    return latents, np.round(video * 255).astype(np.uint8)


def runs(outputs):
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    parts = dict(unet=UNetSpatioTemporalConditionModel(**UNET), vae=AutoencoderKLTemporalDecoder(**VAE),
                 image_encoder=CLIPVisionModelWithProjection(CLIPVisionConfig(**ENCODER)))
    checkpoint = {name: filled(net) for name, net in parts.items()}
    cases = {}
    for name, changes in RUNS.items():
        run = cases[name] = dict(BASE, **changes)
        latents, frames = run_one(parts, run)
        assert torch.isfinite(latents).all(), name
        outputs[f"{name}.latents"] = latents
        if name in WITH_FRAMES:
            outputs[f"{name}.frames"] = torch.from_numpy(np.ascontiguousarray(frames))
        print(f"{name}: latents rms {latents.square().mean().sqrt():.3f}, frames {frames.mean():.1f} +- {frames.std():.1f}")
    return dict(checkpoint=checkpoint, single_file=single_file(checkpoint), scheduler=SCHEDULER,
                feature_extractor=EXTRACTOR, runs=cases)


@torch.no_grad()
def main(out_dir):
    import diffusers
    import transformers

    torch.manual_seed(0)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    versions = dict(diffusers=diffusers.__version__, transformers=transformers.__version__, torch=torch.__version__,
                    pillow=PIL.__version__)
    outputs = {}
    document = dict(versions=versions, unet=unets(outputs), vae=vaes(outputs), vision=vision(outputs),
                    layer=layers(outputs), resize=resizing(outputs), **runs(outputs))
    for name, value in outputs.items():
        print(f"{name:32} {list(value.shape)} rms {value.float().square().mean().sqrt():.3g}")
    (out_dir / "svd.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    save_file({name: value.contiguous() for name, value in outputs.items()}, out_dir / "svd.safetensors", metadata=versions)


if __name__ == "__main__":
    main(pathlib.Path(__file__).parents[2] / "tests/golden/svd")
