# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of every network as torch.utils.flop_counter counts it, for the configs and inputs of the other goldens.

Attention runs in its math form: the counter knows no formula for the CPU's fused one. Without data: shapes decide.
"""
import json
import pathlib

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from . import nets, svd, taesd, text, unet2d


def count(call):
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def text_states(spec):
    width = spec["config"]["cross_attention_dim"]
    return torch.zeros(spec["sample"][0], spec.get("tokens", 1), width if isinstance(width, int) else width[0])


def unets(cls, cases):
    counts = {}
    for case, spec in cases.items():
        net, states = cls(**spec["config"]).eval(), text_states(spec)
        if cls.__name__ == "UNetMotionModel":  # wants the text of each frame
            states = states.repeat_interleave(spec["sample"][2], dim=0)
        condition = torch.zeros(spec["timestep_cond"]) if "timestep_cond" in spec else None
        counts[case] = count(lambda: net(torch.zeros(spec["sample"]), torch.tensor(spec["timesteps"]), states,
                                         timestep_cond=condition))
    return counts


def svd_unets():
    from diffusers import UNetSpatioTemporalConditionModel

    counts = {}
    for case, spec in svd.UNETS.items():
        net = UNetSpatioTemporalConditionModel(**spec["config"]).eval()
        counts[case] = count(lambda: net(torch.zeros(spec["sample"]), spec["timestep"], text_states(spec),
                                         torch.tensor(spec["added_time_ids"])))
    return counts


def autoencoders(cls, cases, **extra):
    """Both directions; of tiled cases, which are a choice of the caller, neither."""
    counts = {}
    for case, spec in cases.items():
        if "tile" in spec or spec.get("tiling"):
            continue
        config = dict(spec["config"])
        if cls.__name__ == "AutoencoderKLTemporalDecoder":
            config["down_block_types"] = ("DownEncoderBlock2D",) * len(config["block_out_channels"])
            extra = dict(num_frames=spec["latents"][0])
        net = cls(**config).eval()
        counts[case] = dict(encode=count(lambda: net.encode(torch.zeros(spec["image"]))),
                            decode=count(lambda: net.decode(torch.zeros(spec["latents"]), **extra)))
    return counts


def clip_text():
    """By the layers that are left out: 0 the whole network, 1 up to the penultimate states."""
    from transformers import CLIPTextConfig, CLIPTextModel

    counts = {}
    for case, config in text.CLIP_ENCODERS.items():
        ids = torch.zeros(2, config["max_position_embeddings"], dtype=torch.long)
        layers = config["num_hidden_layers"]
        nets_by_skip = {skip: CLIPTextModel(CLIPTextConfig(**dict(config, num_hidden_layers=layers - skip))).eval()
                        for skip in (0, 1)}
        counts[case] = {str(skip): count(lambda: net(ids)) for skip, net in nets_by_skip.items()}
    return counts


def t5():
    from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

    counts = {}
    for case, config in text.T5_ENCODERS.items():
        net = UMT5EncoderModel(UMT5Config(**config)) if case == "umt5" else T5EncoderModel(T5Config(**config))
        ids = torch.zeros(2, 70, dtype=torch.long)
        counts[case] = count(lambda: net.eval()(ids))
    return counts


def clip_vision():
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    counts = {}
    for case, config in svd.VISION.items():
        net = CLIPVisionModelWithProjection(CLIPVisionConfig(**config)).eval()
        side = config["image_size"]
        counts[case] = count(lambda: net(torch.zeros(2, config.get("num_channels", 3), side, side)))
    return counts


def main(out_dir):
    import diffusers
    import transformers

    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    document = dict(
        versions=dict(diffusers=diffusers.__version__, transformers=transformers.__version__, torch=torch.__version__),
        unet3d=unets(diffusers.UNet3DConditionModel, nets.UNETS),
        unet2d=unets(diffusers.UNet2DConditionModel, unet2d.IMAGE),
        motion=unets(diffusers.UNetMotionModel, unet2d.MOTIONS),
        svd=svd_unets(),
        kl=autoencoders(diffusers.AutoencoderKL, nets.VAES),
        temporal_decoder=autoencoders(diffusers.AutoencoderKLTemporalDecoder, svd.VAES),
        tiny=autoencoders(diffusers.AutoencoderTiny, taesd.NETS),
        clip_text=clip_text(), t5=t5(), clip_vision=clip_vision())
    (out_dir / "flops.json").write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
