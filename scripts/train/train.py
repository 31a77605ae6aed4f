# SPDX-License-Identifier: Apache-2.0
"""Trains the embedded model from nothing: tokenizer, autoencoder, text encoder, UNet; see README.md.

    python train.py --config tiny-cpu.json --out RUN [--until 18:30] [--stages vae,text,...]
"""
from __future__ import annotations

import argparse
import importlib
import shutil
import time
from pathlib import Path

import torch

import common
from common import load_config, log
from world import World

ORDER = ("tokenizer", "vae", "text", "align", "decoder", "image", "video", "distill")


def minutes_left(until: str) -> float:
    """Minutes to a time of day (HH:MM), today or, when that has passed, tomorrow."""
    hour, minute = map(int, until.split(":"))
    now = time.localtime()
    left = (hour * 60 + minute) - (now.tm_hour * 60 + now.tm_min + now.tm_sec / 60)
    return left if left > 0 else left + 24 * 60


def budget(config: dict, name: str, until: str | None, names: list) -> float:
    """A stage's minutes: the config's, or its share of what is left until the deadline."""
    own = config["stages"][name]["minutes"]
    if until is None:
        return own
    ahead = sum(config["stages"][n]["minutes"] for n in names[names.index(name):] if n in config["stages"])
    return minutes_left(until) * own / ahead


def start_from(config: dict, folder: Path, out: Path) -> None:
    """Takes an exported model as finished stages up to "image", so that "video" goes on with its UNet."""
    for name, part, module in (("vae-ready", "vae", "AutoencoderKL"), ("image-ready", "unet", "UNet3DConditionModel")):
        model = getattr(importlib.import_module("diffusers"), module).from_pretrained(folder / part, torch_dtype=torch.float32)
        torch.save(model.state_dict(), out / f"{name}.pt")
    encoder = importlib.import_module("transformers").T5EncoderModel.from_pretrained(folder / "text_encoder",
                                                                                      dtype=torch.float32)
    torch.save(encoder.state_dict(), out / "text-ready.pt")
    shutil.copy(folder / "tokenizer" / "spiece.model", out / "spiece.model")
    log("start from", folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--until", help="HH:MM; the stages still to run share the time until then")
    parser.add_argument("--stages", default=",".join(ORDER), help="those to run, in their order; one that the configuration lacks is left out")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every stage's minutes (rehearsals)")
    parser.add_argument("--from", dest="start", help="an exported model folder to go on from (give --stages video)")
    args = parser.parse_args()
    config = load_config(args.config)
    for stage in config["stages"].values():
        stage["minutes"] *= args.scale
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    if args.start and not (out / "spiece.model").exists():
        start_from(config, Path(args.start), out)
    common.install_signals()
    device = common.setup(config)
    world = World.from_config(config["world"])
    names = [n for n in ORDER if n in args.stages.split(",") and (n == "tokenizer" or n in config["stages"])]
    for name in names:
        minutes = budget(config, name, args.until, names) if name in config["stages"] else 0
        log(f"== {name}: {minutes:.1f} min on {device}")
        module = importlib.import_module({"tokenizer": "text", "decoder": "vae", "image": "diffusion",
                                          "video": "diffusion"}.get(name, name))
        run = getattr(module, f"train_{name}", None) or module.train
        run(config, world, out, device, minutes)


if __name__ == "__main__":
    main()
