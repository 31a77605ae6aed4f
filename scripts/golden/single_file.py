# SPDX-License-Identifier: Apache-2.0
"""Goldens of original tensor names: what diffusers' single-file loaders call every tensor of a Stable Diffusion file or of
a motion module. The original names are written down here from the structure of the original networks (openaimodel.py,
model.py, open_clip); diffusers' own conversion says what becomes of them, and its networks that nothing is missing."""
import json
import pathlib

import torch


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


def unet(channels, layers, attention):
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


def open_clip(layers):
    names = ["positional_embedding", "token_embedding.weight"] + norm("ln_final")
    for i in range(layers):
        block = f"transformer.resblocks.{i}"
        names += [f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_bias"]
        names += [t for p in ("ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj") for t in norm(f"{block}.{p}")]
    return names


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
    document["versions"] = dict(diffusers=diffusers.__version__)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "names.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
