# SPDX-License-Identifier: Apache-2.0
"""Goldens of the networks: UNet3DConditionModel, AutoencoderKL and their layers, from diffusers.

Weights and inputs come from the formula, so only names, shapes, configs (nets.json) and outputs (nets.safetensors) are
kept. Channels / groups stay at 4 or more: GroupNorm over fewer values amplifies rounding.
"""
import json
import pathlib
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from . import formula_weights as formula

UNETS = {
    # The real layout in small: cross blocks first, a plain block last.
    "basic": dict(
        config=dict(
            block_out_channels=(32, 64), layers_per_block=2, norm_num_groups=8, attention_head_dim=8,
            cross_attention_dim=16, sample_size=8,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D")),
        sample=(2, 4, 5, 8, 8), tokens=7, timesteps=[981.0, 1.0]),
    # Height and width that three halvings do not divide: the up path takes the skips' sizes.
    "odd_size": dict(
        config=dict(
            block_out_channels=(16, 32, 32, 32), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
            cross_attention_dim=8),
        sample=(1, 4, 3, 6, 10), tokens=5, timesteps=[500.0]),
    "single_frame": dict(
        config=dict(
            block_out_channels=(32, 32), layers_per_block=1, norm_num_groups=8, attention_head_dim=16,
            cross_attention_dim=12,
            down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
            up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D")),
        sample=(2, 4, 1, 4, 6), tokens=3, timesteps=[20.0, 20.0]),
    # Every option away from its default.
    "options": dict(
        config=dict(
            in_channels=5, out_channels=3, block_out_channels=(16, 48, 32), layers_per_block=2, norm_num_groups=4,
            norm_eps=1e-3, attention_head_dim=8, cross_attention_dim=10, act_fn="gelu", mid_block_scale_factor=1.7,
            downsample_padding=0, time_cond_proj_dim=12,
            down_block_types=("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
            up_block_types=("CrossAttnUpBlock3D", "UpBlock3D", "CrossAttnUpBlock3D")),
        sample=(2, 5, 2, 9, 7), tokens=4, timesteps=[499.5, 3.25], timestep_cond=(2, 12)),
    # The real head width, the real number of tokens, more frames than pixels at the bottom.
    "long": dict(
        config=dict(
            block_out_channels=(64, 128), layers_per_block=1, norm_num_groups=16, attention_head_dim=64,
            cross_attention_dim=24, act_fn="mish",
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D")),
        sample=(1, 4, 17, 4, 4), tokens=77, timesteps=[741.0]),
}

VAES = {
    "basic": dict(
        config=dict(
            block_out_channels=(16, 32), layers_per_block=2, norm_num_groups=4, latent_channels=4, sample_size=16,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        image=(2, 3, 18, 14), latents=(3, 4, 5, 7)),
    "options": dict(
        config=dict(
            in_channels=1, out_channels=2, block_out_channels=(16, 16, 32), layers_per_block=1, norm_num_groups=4,
            latent_channels=5, act_fn="relu", use_quant_conv=False, use_post_quant_conv=False,
            mid_block_add_attention=False, scaling_factor=0.5, shift_factor=0.25, force_upcast=False,
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3),
        image=(1, 1, 20, 13), latents=(2, 5, 3, 4)),
    # 12 x 20 latents in tiles of 8 with a quarter of overlap.
    "tiled": dict(
        config=dict(
            block_out_channels=(16, 16), layers_per_block=1, norm_num_groups=4, latent_channels=4, sample_size=16,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        image=(1, 3, 24, 36), latents=(1, 4, 12, 20), tiling=True),
}


def saved_names(module):
    """Names and shapes as save_pretrained writes them."""
    with tempfile.TemporaryDirectory() as folder:
        module.save_pretrained(folder, safe_serialization=True)
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        with safe_open(pathlib.Path(folder) / "diffusion_pytorch_model.safetensors", "pt") as file:
            return config, {name: list(file.get_slice(name).get_shape()) for name in file.keys()}


def tensor(name, shape, scale=1.0):
    return torch.from_numpy(formula.model_input(name, shape)) * scale


def unets(outputs):
    from diffusers import UNet3DConditionModel

    cases = {}
    for case, spec in UNETS.items():
        net = UNet3DConditionModel(**spec["config"]).eval()
        manifest = formula.fill(net)
        config, saved = saved_names(net)
        assert saved == manifest, case
        batch = spec["sample"][0]
        states = (batch, spec["tokens"], spec["config"]["cross_attention_dim"])
        cond = spec.get("timestep_cond")
        outputs[f"unet.{case}"] = net(
            tensor("sample", spec["sample"]),
            torch.tensor(spec["timesteps"]),
            tensor("encoder_hidden_states", states),
            timestep_cond=tensor("timestep_cond", cond) if cond else None,
        ).sample
        cases[case] = dict(
            config=config, tensors=formula.tree(manifest), sample=spec["sample"], encoder_hidden_states=states,
            timesteps=spec["timesteps"])
        if cond:
            cases[case]["timestep_cond"] = cond
    return cases


def vaes(outputs):
    from diffusers import AutoencoderKL

    cases = {}
    for case, spec in VAES.items():
        net = AutoencoderKL(**spec["config"]).eval()
        manifest = formula.fill(net)
        config, saved = saved_names(net)
        assert saved == manifest, case
        if spec.get("tiling"):
            net.enable_tiling()
        posterior = net.encode(tensor("image", spec["image"])).latent_dist
        outputs[f"vae.{case}.mean"] = posterior.mean
        outputs[f"vae.{case}.logvar"] = posterior.logvar
        outputs[f"vae.{case}.sample"] = posterior.sample(torch.Generator("cpu").manual_seed(7))
        outputs[f"vae.{case}.decoded"] = net.decode(tensor("latents", spec["latents"])).sample
        cases[case] = dict(
            config=config, tensors=formula.tree(manifest), image=spec["image"], latents=spec["latents"],
            tiling=bool(spec.get("tiling")))
    return cases


def layers(outputs):
    """Single layers, with inputs chosen so that constants show: quiet inputs for eps, loud ones for the GELUs."""
    from diffusers.models.attention import BasicTransformerBlock, FeedForward
    from diffusers.models.downsampling import Downsample2D
    from diffusers.models.embeddings import TimestepEmbedding, Timesteps
    from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
    from diffusers.models.transformers.transformer_2d import Transformer2DModel
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
    from diffusers.models.upsampling import Upsample2D

    cases = {}

    def add(case, module, call):
        manifest = formula.fill(module.eval())
        outputs[f"layer.{case}"] = call(module)
        cases[case] = formula.tree(manifest)

    x = tensor("x", (4, 16, 5, 3))
    quiet = x * 3e-3  # variance 1e-5: an eps of 1e-6 or 1e-5 changes the result by 20 %
    text = tensor("text", (4, 6, 10))
    tokens = tensor("tokens", (3, 5, 16), 3.0)
    temb = tensor("temb", (4, 24))
    add("resnet", ResnetBlock2D(in_channels=16, out_channels=16, temb_channels=24, groups=4, eps=1e-5),
        lambda m: m(quiet, temb))
    add("resnet_shortcut",
        ResnetBlock2D(in_channels=16, out_channels=32, temb_channels=None, groups=4, eps=1e-6,
                      non_linearity="mish", output_scale_factor=1.5),
        lambda m: m(quiet, None))
    add("temporal_conv", TemporalConvLayer(16, 16, norm_num_groups=4), lambda m: m(quiet, num_frames=2))
    add("transformer_temporal", TransformerTemporalModel(4, 4, in_channels=16, norm_num_groups=4),
        lambda m: m(quiet, num_frames=2).sample)
    add("transformer_2d_linear",
        Transformer2DModel(4, 4, in_channels=16, norm_num_groups=4, cross_attention_dim=10,
                           use_linear_projection=True),
        lambda m: m(quiet, encoder_hidden_states=text).sample)
    add("transformer_2d_conv",
        Transformer2DModel(2, 8, in_channels=16, norm_num_groups=4, cross_attention_dim=10, num_layers=2),
        lambda m: m(x, encoder_hidden_states=text).sample)
    add("block_self_only", BasicTransformerBlock(16, 4, 4, activation_fn="gelu", attention_bias=True),
        lambda m: m(tokens))
    for name in ("geglu", "gelu", "gelu-approximate", "geglu-approximate"):
        add(f"feed_forward.{name}", FeedForward(16, activation_fn=name), lambda m: m(tokens))
    add("downsample", Downsample2D(16, use_conv=True, padding=1, name="op"), lambda m: m(x))
    add("downsample_asymmetric", Downsample2D(16, use_conv=True, padding=0, name="op"), lambda m: m(x))
    add("upsample", Upsample2D(16, use_conv=True), lambda m: m(x))
    add("upsample_sized", Upsample2D(16, use_conv=True), lambda m: m(x, (9, 5)))
    add("time_embedding", TimestepEmbedding(15, 32, cond_proj_dim=6),
        lambda m: m(Timesteps(15, True, 0)(torch.tensor([0.0, 999.0, 0.25])), tensor("cond", (3, 6))))
    outputs["layer.timesteps_sin_first"] = Timesteps(16, False, 1)(torch.tensor([7.0, 2500.5]))
    return cases


@torch.no_grad()
def main(out_dir):
    import diffusers
    import transformers

    torch.manual_seed(0)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    versions = dict(diffusers=diffusers.__version__, transformers=transformers.__version__, torch=torch.__version__)
    outputs = {}
    document = dict(versions=versions, unet=unets(outputs), vae=vaes(outputs), layer=layers(outputs))
    for name, value in sorted(outputs.items()):
        print(f"{name:32} {list(value.shape)} rms {value.square().mean().sqrt():.3g}")
    (out_dir / "nets.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    save_file({k: v.contiguous() for k, v in outputs.items()}, out_dir / "nets.safetensors", metadata=versions)
