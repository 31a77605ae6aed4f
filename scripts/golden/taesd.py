# SPDX-License-Identifier: Apache-2.0
"""Goldens of AutoencoderTiny from diffusers: images to latents and back, in tiles, and in a whole video-to-video run.

The run is that of pipelines.py with this autoencoder instead of its own. Needs T2V_CLIP_TOKENIZER for it.
"""
import json
import os
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

from . import formula_weights as formula
from . import pipelines
from .nets import saved_names, tensor

NETS = {
    # The published configuration is the class's default.
    "default": dict(config={}, image=(2, 3, 32, 40), latents=(2, 4, 4, 5)),
    "small": dict(
        config=dict(encoder_block_out_channels=(16, 16), decoder_block_out_channels=(8, 8),
                    num_encoder_blocks=(0, 1), num_decoder_blocks=(2, 1)),
        image=(3, 3, 14, 10), latents=(3, 4, 5, 7)),
    # Every option away from its default; an odd image, whose halves are rounded up.
    "options": dict(
        config=dict(in_channels=1, out_channels=2, latent_channels=16, act_fn="gelu", scaling_factor=0.5,
                    shift_factor=0.25, latent_magnitude=2, latent_shift=0.3,
                    encoder_block_out_channels=(12, 12, 12), decoder_block_out_channels=(20, 20, 20),
                    num_encoder_blocks=(1, 2, 1), num_decoder_blocks=(1, 0, 2)),
        image=(1, 1, 21, 13), latents=(2, 16, 3, 4)),
    # 12 x 20 latents in tiles of 8 that share one; diffusers' own are of 64, and such a golden would be large.
    "tiled": dict(
        config=dict(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
                    num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)),
        image=(1, 3, 8, 8), latents=(1, 4, 12, 20), tile=8),
}
# Inputs of the network beyond 3 would all be clipped to it: formula inputs reach 1.7.
LATENT_SCALE = 2.0
RUN = dict(pipelines.BASE, strength=0.6, cfg_scale=15.0, steps=10, frames=3, video=True)


def networks(outputs):
    from diffusers import AutoencoderTiny

    cases = {}
    for case, spec in NETS.items():
        net = AutoencoderTiny(**spec["config"]).eval()
        manifest = formula.fill(net)
        config, saved = saved_names(net)
        assert saved == manifest, case
        latents = tensor("latents", spec["latents"], LATENT_SCALE)
        if "tile" in spec:
            net.use_tiling, net.tile_latent_min_size, net.spatial_scale_factor = True, spec["tile"], 2
            outputs[f"{case}.decoded"] = net.decode(latents).sample
        else:
            outputs[f"{case}.encoded"] = net.encode(tensor("image", spec["image"])).latents
            outputs[f"{case}.decoded"] = net.decode(latents).sample
        cases[case] = dict(config=config, tensors=formula.tree(manifest), image=spec["image"], latents=spec["latents"],
                           latent_scale=LATENT_SCALE, tile=spec.get("tile", 0))
    return cases


def whole_run(outputs):
    """pipelines.py's video-to-video run on a model whose autoencoder is a small AutoencoderTiny."""
    from diffusers import AutoencoderTiny, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    vae = AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4)
    nets = dict(unet=UNet3DConditionModel(**pipelines.UNET).eval(), vae=vae.eval(),
                text_encoder=CLIPTextModel(CLIPTextConfig(**pipelines.TEXT)).eval())
    manifests = {name: formula.tree(formula.fill(net)) for name, net in nets.items()}
    tokenizer = CLIPTokenizer.from_pretrained(os.environ["T2V_CLIP_TOKENIZER"], pad_token="!")
    scheduler, latents, frames = pipelines.run_one(dict(nets, tokenizer=tokenizer), RUN)
    outputs["video.latents"] = latents.contiguous()
    outputs["video.frames"] = torch.from_numpy(np.ascontiguousarray(frames))
    print(f"video: latents rms {latents.pow(2).mean().sqrt():.3f}, frames {frames.mean():.1f} +- {frames.std():.1f}")
    return dict(RUN, scheduler=scheduler, tensors=manifests["vae"], config=saved_names(vae)[0])


@torch.no_grad()
def main(out_dir):
    import diffusers
    import transformers

    torch.manual_seed(0)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    versions = dict(diffusers=diffusers.__version__, transformers=transformers.__version__, torch=torch.__version__)
    outputs = {}
    document = dict(versions=versions, networks=networks(outputs), run=whole_run(outputs))
    for name, value in sorted(outputs.items()):
        print(f"{name:32} {list(value.shape)} rms {value.float().square().mean().sqrt():.3g}")
    (out_dir / "taesd.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    save_file({k: v.contiguous() for k, v in outputs.items()}, out_dir / "taesd.safetensors", metadata=versions)
