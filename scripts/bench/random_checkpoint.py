#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a checkpoint in diffusers' layout whose weights are random, for rows that are about time: nothing is downloaded.

usage: random_checkpoint.py FAMILY FOLDER [--tiny] [--dtype fp16|fp32] [--seed N]

Configs are the published ones that tests/data keeps, tokenizers those of models/. `modelscope` also serves ZeroScope, which
is the same network at other shapes; `animatediff` is Stable Diffusion 1.5 with a motion adapter (v2's shape) in
FOLDER/motion_adapter; `embedded` has the shapes of the row of that name. --tiny keeps the kinds of layers and makes two
levels of few channels of them. Every tensor is drawn from the seed and its own name; layers that training begins with
zeros are drawn like the others, for a processor multiplies zeros faster than numbers. Needs torch, diffusers, transformers.
"""
import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import shutil
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = pathlib.Path(__file__).resolve().parents[2]
DTYPES = ("fp16", "fp32")

TINY_TEXT = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
TINY_VAE = dict(block_out_channels=[32] * 4, layers_per_block=1)
# AnimateDiff v2's: diffusers' defaults, and the position table for 32 frames.
MOTION = dict(_class_name="MotionAdapter", block_out_channels=[320, 640, 1280, 1280], motion_layers_per_block=2,
              motion_max_seq_length=32, motion_mid_block_layers_per_block=1, motion_norm_num_groups=32,
              motion_num_attention_heads=8, use_motion_mid_block=True)
# The published preprocessor_config.json of Stable Video Diffusion, without what its pipeline turns off.
EXTRACTOR = dict(image_processor_type="CLIPImageProcessor", crop_size=dict(height=224, width=224),
                 size=dict(shortest_edge=224), image_mean=[0.48145466, 0.4578275, 0.40821073],
                 image_std=[0.26862954, 0.26130258, 0.27577711], resample=3)


def config(model, part, **changes):
    """A published config with other values; `model` is a folder of tests/data/configs or of models/."""
    flat, nested = ROOT / "tests/data/configs" / model / f"{part}.json", ROOT / "models" / model / part / "config.json"
    return dict(json.loads((flat if flat.exists() else nested).read_text()), **changes)


def two_levels(unet, cross_attention_dim=64, **changes):
    """The first and the last kind of block, narrow."""
    ends = {key: [unet[key][0], unet[key][-1]] for key in ("down_block_types", "up_block_types")}
    return dict(unet, **ends, block_out_channels=[32, 64], layers_per_block=1, cross_attention_dim=cross_attention_dim,
                **changes)


def modelscope(tiny):
    source = "text-to-video-ms-1.7b"
    unet = config(source, "unet")
    return "TextToVideoSDPipeline", {
        "unet": ("diffusers", two_levels(unet, attention_head_dim=16) if tiny else unet),
        "vae": ("diffusers", config(source, "vae", **(TINY_VAE if tiny else {}))),
        "text_encoder": ("transformers", config(source, "text_encoder", **(TINY_TEXT if tiny else {}))),
        "tokenizer": ("transformers", "clip-tokenizer-2"),
        "scheduler": ("diffusers", config(source, "scheduler"))}


def embedded(tiny):
    unet = config("shapes-64", "unet", in_channels=4, out_channels=4, attention_head_dim=32, norm_num_groups=32,
                  block_out_channels=[64, 128, 160], down_block_types=["CrossAttnDownBlock3D"] * 3,
                  up_block_types=["CrossAttnUpBlock3D"] * 3)
    if tiny:
        unet = two_levels(unet, cross_attention_dim=unet["cross_attention_dim"], attention_head_dim=16)
    vae = config("shapes-64", "vae", latent_channels=4, block_out_channels=[16, 32, 64, 96], mid_block_add_attention=True)
    return "TextToVideoSDPipeline", {
        "unet": ("diffusers", unet), "vae": ("diffusers", vae),
        "text_encoder": ("transformers", config("shapes-64", "text_encoder")),
        "tokenizer": ("transformers", "shapes-64/tokenizer"),
        "scheduler": ("diffusers", config("text-to-video-ms-1.7b", "scheduler"))}


def animatediff(tiny):
    source = "stable-diffusion-v1-5"
    unet = config(source, "unet")
    motion = dict(MOTION, block_out_channels=[32, 64], motion_layers_per_block=1, motion_num_attention_heads=4)
    return "StableDiffusionPipeline", {
        "unet": ("diffusers", two_levels(unet, attention_head_dim=4) if tiny else unet),
        "motion_adapter": ("diffusers", motion if tiny else MOTION),
        "vae": ("diffusers", config(source, "vae", **(TINY_VAE if tiny else {}))),
        "text_encoder": ("transformers", config(source, "text_encoder", **(TINY_TEXT if tiny else {}))),
        "tokenizer": ("transformers", "clip-tokenizer"),
        "scheduler": ("diffusers", config(source, "scheduler"))}


def svd(tiny):
    source = "stable-video-diffusion-img2vid-xt"
    unet = config(source, "unet", num_frames=14)  # the shorter of the two published models
    vision = dict(TINY_TEXT, projection_dim=64, patch_size=56)
    if tiny:
        unet = two_levels(unet, num_attention_heads=[2, 4], addition_time_embed_dim=32,
                          projection_class_embeddings_input_dim=96)
    return "StableVideoDiffusionPipeline", {
        "unet": ("diffusers", unet), "vae": ("diffusers", config(source, "vae", **(TINY_VAE if tiny else {}))),
        "image_encoder": ("transformers", config(source, "image_encoder", **(vision if tiny else {}))),
        "feature_extractor": ("transformers", EXTRACTOR),
        "scheduler": ("diffusers", config(source, "scheduler"))}


FAMILIES = {"embedded": embedded, "modelscope": modelscope, "zeroscope": modelscope, "animatediff": animatediff, "svd": svd}


def shapes_of(library, settings):
    """{name on disk: shape} of a network; no memory is taken for it."""
    import diffusers
    import torch
    import transformers

    with torch.device("meta"):
        if library == "diffusers":
            net = getattr(diffusers, settings["_class_name"]).from_config(settings)
        else:
            kind = getattr(transformers, settings["architectures"][0])
            net = kind(kind.config_class.from_dict(settings))
    shapes = {name: tuple(tensor.shape) for name, tensor in net.named_parameters()}  # tied ones once
    shapes.update((name, tuple(tensor.shape)) for name, tensor in net.named_buffers() if name.endswith(".pe"))
    if settings.get("model_type") == "clip_text_model":  # files have this prefix, transformers 5 no longer has it in memory
        shapes = {"text_model." + name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    if settings.get("model_type") == "t5":
        shapes.pop("encoder.embed_tokens.weight", None)  # is shared.weight
    return shapes


def draw(name, shape, seed):
    """fp32 values under which activations keep the size of one: matrices have variance 1 / inputs, norms lie about 1, and
    every branch begins with a norm."""
    import torch
    from diffusers.models.embeddings import SinusoidalPositionalEmbedding

    if name.endswith(".pe"):  # a table that no training changes
        return SinusoidalPositionalEmbedding(shape[2], max_seq_length=shape[1]).pe
    values = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode())))
    if len(shape) > 1:
        inputs = math.prod(shape[1:])
        # T5 does not divide by the root of a head's width; trained queries do.
        return values * inputs**-0.5 * (0.2 if name.endswith("SelfAttention.q.weight") else 1.0)
    return 1 + 0.1 * values if name.endswith(".weight") else 0.02 * values


def write_weights(folder, settings, library, dtype, seed):
    import torch
    from safetensors.torch import save_file

    kept = {"fp16": torch.float16, "fp32": torch.float32}[dtype]
    shapes = shapes_of(library, settings)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        drawn = threads.map(lambda item: draw(*item, seed).to(kept).contiguous(), shapes.items())
        tensors = dict(zip(shapes, drawn))
    name = "diffusion_pytorch_model" if library == "diffusers" else "model"
    save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
    return sum(tensor.numel() for tensor in tensors.values())


def byte_symbols():
    """The 256 characters that stand for bytes in CLIP's vocabulary, in its order (GPT-2's bytes_to_unicode)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]


def write_tokenizer(folder, source):
    """A tokenizer of models/; CLIP's with the vocabulary that transformers wants beside the merges it follows from."""
    shutil.copytree(ROOT / "models" / source, folder, dirs_exist_ok=True)
    merges = folder / "merges.txt"
    if not merges.exists():
        return
    symbols = byte_symbols()
    joined = [line.replace(" ", "") for line in merges.read_text(encoding="utf-8").split("\n")[1:] if line]
    words = symbols + [s + "</w>" for s in symbols] + joined + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")


def write_part(folder, library, settings, dtype, seed):
    """One component: a tokenizer by its folder's name, settings alone, or a network. Returns its number of values."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(settings, str):
        write_tokenizer(folder, settings)
        return 0
    names = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json"}
    (folder / names.get(folder.name, "config.json")).write_text(json.dumps(settings, indent=2) + "\n")
    return 0 if folder.name in names else write_weights(folder, settings, library, dtype, seed)


def class_of(part, settings):
    if part == "tokenizer":
        return "T5Tokenizer" if "shapes" in settings else "CLIPTokenizer"
    return settings.get("_class_name") or settings.get("image_processor_type") or settings["architectures"][0]


def make(family, folder, tiny=False, dtype="fp16", seed=0):
    folder = pathlib.Path(folder)
    pipeline, parts = FAMILIES[family](tiny)
    index = {"_class_name": pipeline, "_diffusers_version": "0.42.1"}
    for part, (library, settings) in parts.items():
        values = write_part(folder / part, library, settings, dtype, seed)
        if values:
            print(f"{family}: {part}: {values:,} values", flush=True)
        if part != "motion_adapter":  # Stable Diffusion's pipeline has none; it is given beside it
            index[part] = [library, class_of(part, settings)]
    if family == "animatediff":
        index.update(safety_checker=[None, None], feature_extractor=[None, None])
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")  # last: a folder without it is unfinished


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("folder")
    parser.add_argument("--tiny", action="store_true", help="to try things on a CPU")
    parser.add_argument("--dtype", choices=DTYPES, default="fp16", help="of the files (default fp16)")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    make(a.family, a.folder, a.tiny, a.dtype, a.seed)


if __name__ == "__main__":
    main()
