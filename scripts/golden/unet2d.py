# SPDX-License-Identifier: Apache-2.0
"""Goldens of UNet2DConditionModel and UNetMotionModel: one call each, and the parameter counts of published configs."""
import json
import pathlib

import torch
from safetensors.torch import save_file

from . import formula_weights as formula
from .nets import saved_names, tensor

IMAGE = {
    # The layout of Stable Diffusion 1.5 in small.
    "sd1": dict(
        config=dict(
            block_out_channels=(32, 64), layers_per_block=2, norm_num_groups=8, attention_head_dim=8,
            cross_attention_dim=16, sample_size=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
        sample=(2, 4, 8, 8), tokens=7, timesteps=[981.0, 1.0]),
    # Stable Diffusion 2: heads of equal width, linear projections.
    "sd2": dict(
        config=dict(
            block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, attention_head_dim=(2, 4),
            use_linear_projection=True, upcast_attention=True, cross_attention_dim=24,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D")),
        sample=(1, 4, 6, 10), tokens=5, timesteps=[500.0]),
    # Every option away from its default, sizes that halvings do not divide.
    "options": dict(
        config=dict(
            in_channels=5, out_channels=3, block_out_channels=(16, 48, 32), layers_per_block=(1, 2, 1), norm_num_groups=4,
            norm_eps=1e-3, attention_head_dim=(2, 4, 8), cross_attention_dim=(10, 10, 10), act_fn="gelu",
            mid_block_scale_factor=1.7, downsample_padding=0, time_cond_proj_dim=12, flip_sin_to_cos=False, freq_shift=1,
            transformer_layers_per_block=(2, 1, 2),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D")),
        sample=(2, 5, 9, 7), tokens=4, timesteps=[499.5, 3.25], timestep_cond=(2, 12)),
}

MOTION = dict(
    block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, num_attention_heads=4, cross_attention_dim=16,
    down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
    up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"))
MOTIONS = {
    "v1": dict(config=dict(MOTION, motion_max_seq_length=24, use_motion_mid_block=False, motion_num_attention_heads=8),
               sample=(2, 4, 5, 8, 8), tokens=7, timesteps=[981.0, 1.0]),
    "v2": dict(config=dict(MOTION, motion_max_seq_length=32, use_motion_mid_block=True, motion_num_attention_heads=4),
               sample=(1, 4, 32, 4, 6), tokens=3, timesteps=[20.0]),
    "options": dict(
        config=dict(MOTION, layers_per_block=(1, 2), motion_max_seq_length=7, use_motion_mid_block=True, act_fn="gelu",
                    motion_num_attention_heads=(2, 8), temporal_transformer_layers_per_block=2,
                    temporal_transformer_layers_per_mid_block=2, time_cond_proj_dim=12),
        sample=(1, 4, 3, 5, 9), tokens=3, timesteps=[20.5], timestep_cond=(1, 12)),
}


def fill(net, with_positions=False):
    """formula.fill, except the sinusoids of motion modules, which stay as diffusers computed them."""
    positions = {name: value.clone() for name, value in net.state_dict().items() if name.endswith("pos_embed.pe")}
    manifest = formula.fill(net)
    if with_positions:
        return manifest
    with torch.no_grad():
        for name, value in positions.items():
            net.state_dict()[name].copy_(value)
    return {name: shape for name, shape in manifest.items() if name not in positions}


def run(cls, cases, outputs, prefix):
    documents = {}
    for case, spec in cases.items():
        net = cls(**spec["config"]).eval()
        # One case keeps positions of its own, as files may: they win over the formula.
        manifest = fill(net, with_positions=case == "v2")
        config, saved = saved_names(net)
        assert set(manifest) <= set(saved), case
        width = spec["config"]["cross_attention_dim"]
        states = (spec["sample"][0], spec["tokens"], width if isinstance(width, int) else width[0])
        frames = spec["sample"][2] if len(spec["sample"]) == 5 else 1
        cond = spec.get("timestep_cond")
        context = tensor("encoder_hidden_states", states)
        outputs[f"{prefix}.{case}"] = net(
            tensor("sample", spec["sample"]), torch.tensor(spec["timesteps"]),
            context.repeat_interleave(frames, dim=0) if len(spec["sample"]) == 5 else context,
            timestep_cond=tensor("timestep_cond", cond) if cond else None).sample.contiguous()
        documents[case] = dict(config=config, tensors=formula.tree(manifest), sample=spec["sample"],
                               encoder_hidden_states=states, timesteps=spec["timesteps"])
        if cond:
            documents[case]["timestep_cond"] = cond
    return documents


def counts():
    """Parameters of the published configs, without their weights."""
    from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

    sd1 = dict(cross_attention_dim=768, attention_head_dim=8)
    sd2 = dict(cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True)
    adapters = {"v1": dict(motion_max_seq_length=24, use_motion_mid_block=False),
                "v2": dict(motion_max_seq_length=32, use_motion_mid_block=True),
                "v3": dict(motion_max_seq_length=32, use_motion_mid_block=False)}
    with torch.device("meta"):
        nets = {"sd1": UNet2DConditionModel(**sd1), "sd2": UNet2DConditionModel(**sd2)}
        for name, adapter in adapters.items():
            nets[f"adapter_{name}"] = MotionAdapter(**adapter)
            nets[f"sd1_{name}"] = UNetMotionModel(cross_attention_dim=768, num_attention_heads=8, **adapter)
    return {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}


@torch.no_grad()
def main(out_dir):
    import diffusers

    torch.manual_seed(0)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    outputs = {}
    document = dict(
        image=run(diffusers.UNet2DConditionModel, IMAGE, outputs, "image"),
        motion=run(diffusers.UNetMotionModel, MOTIONS, outputs, "motion"), parameters=counts(),
        versions=dict(torch=torch.__version__, diffusers=diffusers.__version__))
    save_file(outputs, out_dir / "unet2d.safetensors", metadata=document["versions"])
    (out_dir / "unet2d.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
