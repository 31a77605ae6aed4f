# SPDX-License-Identifier: Apache-2.0
"""Trains the embedded model from nothing: tokenizer, autoencoder, text encoder, UNet; see README.md.

    python train.py --config tiny-cpu.json --out RUN [--until 18:30] [--stages vae,text,...]
    python train.py --config tiny-gpu.json --out RUN --rehearse --scale 0.15
    python train.py --config wide-cpu.json --out RUN --from ../../models/shapes-64 --stages video
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


def moment(until: str) -> float:
    """When it is next a time of day (HH:MM), today or tomorrow, in seconds since 1970."""
    hour, minute = map(int, until.split(":"))
    now = time.localtime()
    return time.time() + (hour * 3600 + minute * 60 - now.tm_hour * 3600 - now.tm_min * 60 - now.tm_sec) % (24 * 3600)


def behind(out: Path, name: str) -> tuple:
    """(minutes, share) that a stage has behind it."""
    file = out / f"{name}.pt"
    state = torch.load(file, map_location="cpu", weights_only=True) if file.exists() else {"used": 0, "seconds": 1}
    return state["used"] / 60, min(1.0, state["used"] / max(state["seconds"], 1e-9))


def budget(config: dict, name: str, deadline: float | None, names: list, out: Path) -> float:
    """A stage's minutes: the configuration's, or what it has used and its share of what is left until the deadline."""
    if deadline is None:
        return config["stages"][name]["minutes"]
    left = max(deadline - time.time(), 0.0) / 60
    missing = {n: config["stages"][n]["minutes"] * (1 - behind(out, n)[1]) for n in names[names.index(name):]}
    return behind(out, name)[0] + left * missing[name] / max(sum(missing.values()), 1e-9)


def rehearsal(config: dict) -> None:
    """Makes every stage's steps small, and none of its parts absent: the networks, the picture and the windows stay."""
    for stage in config["stages"].values():
        frames = max([1, *(w for _, windows, _ in stage.get("windows", []) for w in windows)])
        few = {"batch": 4, "frames": frames, "clips": 1, "pool": 3, "grow": 1, "look": 0.4 * stage["minutes"], "warmup": 2}
        stage.update({"prompts": 3, **{k: v for k, v in few.items() if k in stage}})
    config["t2v"]["steps"] = 2


def start_from(config: dict, folder: Path, out: Path) -> None:
    """Takes an exported model as finished stages up to "image", so that "video" goes on with its UNet."""
    for name, part, module in (("vae-ready", "vae", "AutoencoderKL"), ("image-ready", "unet", "UNet3DConditionModel")):
        model = getattr(importlib.import_module("diffusers"), module).from_pretrained(folder / part, torch_dtype=torch.float32)
        torch.save(model.state_dict(), out / f"{name}.pt")
    encoder = importlib.import_module("transformers").T5EncoderModel.from_pretrained(folder / "text_encoder",
                                                                                      dtype=torch.float32)
    for name in ("text-ready", "align-ready"):
        torch.save(encoder.state_dict(), out / f"{name}.pt")
    shutil.copy(folder / "tokenizer" / "spiece.model", out / "spiece.model")
    log("start from", folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--until", help="HH:MM; the stages still to run share the time until then")
    parser.add_argument("--stages", default=",".join(ORDER), help="those to run, in their order; one that the configuration lacks is left out")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every stage's minutes (rehearsals)")
    parser.add_argument("--rehearse", action="store_true", help="tiny batches that teach nothing (give --scale too)")
    parser.add_argument("--from", dest="start", help="an exported model folder whose UNet goes on with the stage video")
    args = parser.parse_args()
    config = load_config(args.config)
    for stage in config["stages"].values():
        stage["minutes"] *= args.scale
    if args.rehearse:
        rehearsal(config)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    if args.start and not (out / "spiece.model").exists():
        start_from(config, Path(args.start), out)
    deadline = moment(args.until) if args.until else None
    common.install_signals()
    device = common.setup(config)
    world = World.from_config(config["world"])
    names = [n for n in ORDER if n in args.stages.split(",") and (n == "tokenizer" or n in config["stages"])]
    timed = [n for n in names if n in config["stages"]]
    for name in names:
        minutes = budget(config, name, deadline, timed, out) if name in timed else 0
        log(f"== {name}: {minutes:.1f} min on {device}")
        module = importlib.import_module({"tokenizer": "text", "decoder": "vae", "image": "diffusion",
                                          "video": "diffusion"}.get(name, name))
        run = getattr(module, f"train_{name}", None) or module.train
        run(config, world, out, device, minutes)


if __name__ == "__main__":
    main()
