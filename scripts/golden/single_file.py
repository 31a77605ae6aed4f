# SPDX-License-Identifier: Apache-2.0
"""Goldens of original tensor names: what diffusers' single-file loaders call every tensor of a Stable Diffusion file or of
a motion module. The original names are written down here from the structure of the original networks (openaimodel.py,
model.py, open_clip); diffusers' own conversion says what becomes of them, and its networks that nothing is missing."""
import json
import pathlib

import torch

from . import formula_weights as formula

VAE_SHAPE = ((32, 32, 64), 2)  # of SVD's tiny checkpoint: block_out_channels, layers_per_block


def norm(name):
    return [f"{name}.weight", f"{name}.bias"]


def resnet(name, has_shortcut):
    parts = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]
    return [t for p in parts + ["skip_connection"] * has_shortcut for t in norm(f"{name}.{p}")]


def transformer(name):
    block = f"{name}.transformer_blocks.0"
    names = norm(f"{name}.norm") + norm(f"{name}.proj_in") + norm(f"{name}.proj_out")
    for attention in ("attn1", "attn2"):
        names += [f"{block}.{attention}.to_{x}.weight" for x in "qkv"] + norm(f"{block}.{attention}.to_out.0")
    names += [t for n in (1, 2, 3) for t in norm(f"{block}.norm{n}")]
    return names + norm(f"{block}.ff.net.0.proj") + norm(f"{block}.ff.net.2")


def video_resnet(name, has_shortcut):
    return resnet(name, has_shortcut) + resnet(f"{name}.time_stack", False) + [f"{name}.time_mixer.mix_factor"]


def video_transformer(name):
    time = [n.replace(f"{name}.transformer_blocks", f"{name}.time_stack") for n in transformer(name) if "_blocks." in n]
    time += [t for p in ("norm_in", "ff_in.net.0.proj", "ff_in.net.2") for t in norm(f"{name}.time_stack.0.{p}")]
    time += norm(f"{name}.time_pos_embed.0") + norm(f"{name}.time_pos_embed.2")
    return transformer(name) + time + [f"{name}.time_mixer.mix_factor"]


def unet(channels, layers, attention, resnet=resnet, transformer=transformer):
    levels = len(channels)
    names = norm("time_embed.0") + norm("time_embed.2") + norm("input_blocks.0.0") + norm("out.0") + norm("out.2")
    width, block, skips = channels[0], 1, [channels[0]]
    for level, out in enumerate(channels):
        for _ in range(layers):
            names += resnet(f"input_blocks.{block}.0", width != out)
            names += transformer(f"input_blocks.{block}.1") if attention[level] else []
            width, block = out, block + 1
            skips.append(width)
        if level + 1 < levels:
            names += norm(f"input_blocks.{block}.0.op")
            block += 1
            skips.append(width)
    names += resnet("middle_block.0", False) + transformer("middle_block.1") + resnet("middle_block.2", False)
    block = 0
    for level in reversed(range(levels)):
        for layer in range(layers + 1):
            names += resnet(f"output_blocks.{block}.0", True) if width + skips.pop() != channels[level] else []
            names += transformer(f"output_blocks.{block}.1") if attention[level] else []
            if layer == layers and level > 0:
                names += norm(f"output_blocks.{block}.{2 if attention[level] else 1}.conv")
            width, block = channels[level], block + 1
    return names


def vae(channels, layers):
    def block(name, has_shortcut):
        return [t for p in ["norm1", "conv1", "norm2", "conv2"] + ["nin_shortcut"] * has_shortcut for t in norm(f"{name}.{p}")]

    names = norm("quant_conv") + norm("post_quant_conv")
    for half in ("encoder", "decoder"):
        names += norm(f"{half}.conv_in") + norm(f"{half}.conv_out") + norm(f"{half}.norm_out")
        names += block(f"{half}.mid.block_1", False) + block(f"{half}.mid.block_2", False)
        names += [t for p in ("norm", "q", "k", "v", "proj_out") for t in norm(f"{half}.mid.attn_1.{p}")]
    for level in range(len(channels)):
        below = channels[max(level - 1, 0)]
        for layer in range(layers):
            names += block(f"encoder.down.{level}.block.{layer}", layer == 0 and below != channels[level])
        above = channels[min(level + 1, len(channels) - 1)]
        for layer in range(layers + 1):
            names += block(f"decoder.up.{level}.block.{layer}", layer == 0 and above != channels[level])
        names += norm(f"encoder.down.{level}.downsample.conv") if level + 1 < len(channels) else []
        names += norm(f"decoder.up.{level}.upsample.conv") if level > 0 else []
    return names


def video_decoder(channels, layers):
    """first_stage_model of SVD: a decoder only."""
    names = [n for n in vae(channels, layers) if n.startswith("decoder.")]
    for block in [n.removesuffix(".norm1.weight") for n in names if n.endswith(".norm1.weight")]:
        stack = ("in_layers.0", "in_layers.2", "out_layers.0", "out_layers.3")
        names += [t for p in stack for t in norm(f"{block}.time_stack.{p}")] + [f"{block}.mix_factor"]
    return names + norm("decoder.conv_out.time_mix_conv")


def video_file(unet_shape, vae_shape, vision_layers):
    """svd.safetensors. Its encoder is the conditioner's fourth embedder, a whole image autoencoder."""
    names = [f"model.diffusion_model.{n}" for n in unet(*unet_shape, video_resnet, video_transformer)]
    names += [f"model.diffusion_model.{n}" for n in norm("label_emb.0.0") + norm("label_emb.0.2")]
    names += [f"first_stage_model.{n}" for n in video_decoder(*vae_shape)]
    names += [f"conditioner.embedders.3.encoder.{n}" for n in vae(*vae_shape)]
    visual = ["class_embedding", "conv1.weight", "positional_embedding", "proj"] + norm("ln_pre") + norm("ln_post")
    return names + [f"conditioner.embedders.0.open_clip.model.visual.{n}" for n in visual + open_clip_blocks(vision_layers)]


def open_clip_blocks(layers):
    names = []
    for i in range(layers):
        block = f"transformer.resblocks.{i}"
        names += [f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_bias"]
        names += [t for p in ("ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj") for t in norm(f"{block}.{p}")]
    return names


def open_clip(layers):
    return ["positional_embedding", "token_embedding.weight"] + norm("ln_final") + open_clip_blocks(layers)


class Name:
    """Stands for a tensor while diffusers renames: carries its original name, and the part that was cut out."""

    def __init__(self, name, part=None):
        self.name, self.part, self.shape = name, part, (192, 64)

    def __getitem__(self, key):
        rows = key[0] if isinstance(key, tuple) else key
        if not isinstance(rows, slice) or (rows.start is None and rows.stop is None):
            return self
        return Name(self.name, (rows.start or 0) // 64)

    def clone(self):
        return self

    detach = contiguous = clone
    T = property(lambda self: self)


def shown(converted):
    return {new: [value.name, value.part, 3] if value.part is not None else value.name for new, value in converted.items()}


def motion_modules(channels, layers, has_middle):
    def module(name):
        block = f"{name}.temporal_transformer.transformer_blocks.0"
        names = [t for p in ("norm", "proj_in", "proj_out") for t in norm(f"{name}.temporal_transformer.{p}")]
        for n in (0, 1):
            names += [f"{block}.attention_blocks.{n}.to_{x}.weight" for x in "qkv"]
            names += norm(f"{block}.attention_blocks.{n}.to_out.0") + [f"{block}.attention_blocks.{n}.pos_encoder.pe"]
            names += norm(f"{block}.norms.{n}")
        return names + norm(f"{block}.ff.net.0.proj") + norm(f"{block}.ff.net.2") + norm(f"{block}.ff_norm")

    names = module("mid_block.motion_modules.0") if has_middle else []
    for level in range(len(channels)):
        names += [t for n in range(layers) for t in module(f"down_blocks.{level}.motion_modules.{n}")]
        names += [t for n in range(layers + 1) for t in module(f"up_blocks.{level}.motion_modules.{n}")]
    return names


def video_unet_names(config, stored):
    """By diffusers' own script, which forgets the mixers of up blocks without attention."""
    import importlib.util
    import os

    spec = importlib.util.spec_from_file_location("convert_svd", os.environ["T2V_DIFFUSERS_SVD_SCRIPT"])
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    original = {n: Name(n.removeprefix("model.diffusion_model.")) for n in stored if n.startswith("model.")}
    names = shown(script.convert_ldm_unet_checkpoint(dict(original), dict(config, class_embed_type=None)))
    del names["up_blocks.0.resnets.0.time_mixer.mix_factor"]
    known = set(names.values())
    for value in original.values():
        if value.name.endswith(".0.time_mixer.mix_factor") and value.name not in known:
            block = int(value.name.split(".")[1])
            level, layer = divmod(block, config["layers_per_block"] + 1)
            names[f"up_blocks.{level}.resnets.{layer}.time_mixer.mix_factor"] = value.name
    return names


def video_unet(channels, layers, attention, **config):
    """diffusers' network, and its names for the tensors of a file."""
    from diffusers import UNetSpatioTemporalConditionModel

    def kinds(which):
        return [("CrossAttn" if has else "") + which + "BlockSpatioTemporal" for has in attention]

    net = UNetSpatioTemporalConditionModel(
        block_out_channels=channels, layers_per_block=layers, num_attention_heads=[c // 64 for c in channels],
        down_block_types=kinds("Down"), up_block_types=kinds("Up")[::-1], **config)
    stored = video_file((channels, layers, attention), VAE_SHAPE, 2)
    names = video_unet_names(net.config, stored)
    assert set(names) == set(net.state_dict()), set(names) ^ set(net.state_dict())
    return net, {new: f"model.diffusion_model.{old}" for new, old in names.items()}


def described(net):
    """Config and shapes, as save_pretrained() would write them."""
    config = net.config if isinstance(net.config, dict) else net.config.to_diff_dict()
    config = {k: v for k, v in config.items() if not k.startswith("_")} | dict(_class_name=type(net).__name__)
    return dict(config=config, tensors=formula.tree({n: list(t.shape) for n, t in net.state_dict().items()}))


def video_case():
    """diffusers' names of a file of Stable Video Diffusion. The VAE's follow diffusers' conversion of the image VAE, with
    the names that the temporal decoder adds; its encoder comes from the conditioner, its decoder from the first stage."""
    from diffusers import AutoencoderKLTemporalDecoder
    from diffusers.loaders import single_file_utils as convert
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    shape = ((64, 128), 1, [True, False])
    stored = video_file(shape, VAE_SHAPE, 2)
    net, unet_names = video_unet(*shape, cross_attention_dim=96, addition_time_embed_dim=16,
                                 projection_class_embeddings_input_dim=48, num_frames=14)
    levels = len(VAE_SHAPE[0])
    coder = AutoencoderKLTemporalDecoder(block_out_channels=VAE_SHAPE[0], layers_per_block=VAE_SHAPE[1],
                                         down_block_types=["DownEncoderBlock2D"] * levels)
    image_names = shown(convert.convert_ldm_vae_checkpoint({n: Name(n) for n in vae(*VAE_SHAPE)},
                                                           dict(coder.config, up_block_types=[0] * levels)))
    vae_names = {}
    for new, old in image_names.items():
        if new.startswith("post_quant"):
            continue
        if not new.startswith("decoder."):
            vae_names[new] = f"conditioner.embedders.3.encoder.{old}"
            continue
        if ".resnets." in new:
            block, index, leaf = new.split(".resnets.")[0], *new.split(".resnets.")[1].split(".", 1)
            new = f"{block}.resnets.{index}.spatial_res_block.{leaf}"
            if leaf == "norm1.weight":
                above, stack = f"{block}.resnets.{index}.", f"first_stage_model.{old.removesuffix('norm1.weight')}"
                vae_names[above + "time_mixer.mix_factor"] = stack + "mix_factor"
                for ours, theirs in (("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("norm2", "out_layers.0"),
                                     ("conv2", "out_layers.3")):
                    for a, b in zip(norm(above + "temporal_res_block." + ours), norm(stack + "time_stack." + theirs)):
                        vae_names[a] = b
        vae_names[new] = f"first_stage_model.{old}"
    vae_names.update(zip(norm("decoder.time_conv_out"), norm("first_stage_model.decoder.conv_out.time_mix_conv")))
    assert set(vae_names) == set(coder.state_dict()), set(vae_names) ^ set(coder.state_dict())

    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(
        num_hidden_layers=2, hidden_size=160, intermediate_size=128, num_attention_heads=2, projection_dim=96,
        image_size=224, patch_size=56, hidden_act="gelu"))
    tower, vision_names = "conditioner.embedders.0.open_clip.model.visual.", {}
    plain = {"class_embedding": "embeddings.class_embedding", "conv1.weight": "embeddings.patch_embedding.weight",
             "positional_embedding": "embeddings.position_embedding.weight", "ln_pre.": "pre_layrnorm.",
             "ln_post.": "post_layernorm.", "transformer.resblocks.": "encoder.layers.", ".ln_1.": ".layer_norm1.",
             ".ln_2.": ".layer_norm2.", ".attn.out_proj.": ".self_attn.out_proj.", ".mlp.c_fc.": ".mlp.fc1.",
             ".mlp.c_proj.": ".mlp.fc2."}
    for name in [n.removeprefix(tower) for n in stored if n.startswith(tower) and not n.endswith(".visual.proj")]:
        new = name
        for ours, theirs in plain.items():
            new = new.replace(ours, theirs)
        if ".attn.in_proj_" in new:
            for i, part in enumerate("qkv"):
                own = new.replace(".attn.in_proj_", f".self_attn.{part}_proj.")
                vision_names["vision_model." + own] = [tower + name, i, 3]
        else:
            vision_names["vision_model." + new] = tower + name
    vision_names["visual_projection.weight"] = [tower + "proj", "transposed"]
    wanted = {n for n in vision.state_dict() if "position_ids" not in n}
    assert set(vision_names) == wanted, set(vision_names) ^ wanted
    used = {v if isinstance(v, str) else v[0] for v in (unet_names | vae_names | vision_names).values()}
    parts = dict(unet=dict(described(net), names=unet_names), vae=dict(described(coder), names=vae_names),
                 image_encoder=dict(described(vision), names=vision_names))
    parts["image_encoder"]["config"] = vision.config.to_diff_dict() | dict(architectures=["CLIPVisionModelWithProjection"])
    return dict(parts, unused=sorted(set(stored) - used))


def main(out_dir):
    import diffusers
    from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as convert
    from transformers import CLIPTextConfig, CLIPTextModel

    # Names depend on structure only, so narrow networks stand for the published ones; `small` is the tiny checkpoint of
    # stable_diffusion.py.
    document = {}
    with torch.device("meta"):
        for case, channels, layers, levels in (("published", (32, 64, 128, 128), 2, [True, True, True, False]),
                                               ("small", (64, 64), 1, [True, False])):
            kinds = ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in levels]
            ups = [kind.replace("Down", "Up") for kind in reversed(kinds)]
            net = UNet2DConditionModel(block_out_channels=channels, layers_per_block=layers, down_block_types=kinds,
                                       up_block_types=ups)
            original = {f"model.diffusion_model.{n}": Name(n) for n in unet(channels, layers, levels)}
            names = shown(convert.convert_ldm_unet_checkpoint(original, net.config))
            assert set(names) == set(net.state_dict()), set(names) ^ set(net.state_dict())
            vae_channels = (32, 64, 128, 128) if case == "published" else (32, 32, 64, 64)
            coder = AutoencoderKL(block_out_channels=vae_channels, layers_per_block=layers,
                                  down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4)
            convert.conv_attn_to_linear = lambda checkpoint: None  # needs values; only shapes change there
            vae_names = shown(convert.convert_ldm_vae_checkpoint({n: Name(n) for n in vae(vae_channels, layers)}, coder.config))
            assert set(vae_names) == set(coder.state_dict()), set(vae_names) ^ set(coder.state_dict())
            document[case] = dict(unet=names, vae=vae_names, layers_per_block=layers)
        # 2 layers of the 3 in the file: SD 2 leaves the last one out (diffusers does so for number 23).
        text = CLIPTextModel(CLIPTextConfig(num_hidden_layers=2, hidden_size=64, num_attention_heads=1))
        stored = {f"cond_stage_model.model.{n}": Name(n) for n in open_clip(2)}
        stored["cond_stage_model.model.text_projection"] = Name("text_projection")
        stored["cond_stage_model.model.text_projection"].shape = (64, 64)
        names = shown(convert.convert_open_clip_checkpoint(text, stored))
        names = {name.removeprefix("text_model."): source for name, source in names.items()}
        wanted = {name.removeprefix("text_model.") for name in text.state_dict() if "position_ids" not in name}
        assert set(names) == wanted, set(names) ^ wanted
        document["open_clip"] = names
        adapter = MotionAdapter(block_out_channels=(64, 64), motion_layers_per_block=1, motion_num_attention_heads=8)
        names = motion_modules((64, 64), 1, True)
        converted = convert.convert_animatediff_checkpoint_to_diffusers({n: Name(n) for n in names})
        document["motion_module"] = shown(converted)
        wanted = {name for name in adapter.state_dict() if not name.endswith("pos_embed.pe")}
        assert set(document["motion_module"]) == wanted, set(document["motion_module"]) ^ wanted
        # A tiny checkpoint, and the UNet that is published.
        net, names = video_unet((320, 640, 1280, 1280), 2, [True, True, True, False])
        document["svd"] = dict(small=video_case(), published_unet=dict(described(net), names=names))
    document["versions"] = dict(diffusers=diffusers.__version__)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "names.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
