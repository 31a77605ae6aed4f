# SPDX-License-Identifier: Apache-2.0
"""Writes a trained run as a diffusers folder: fp16 safetensors of at most 16 MiB a file, loadable by
`DiffusionPipeline.from_pretrained` and by t2v.

    python export.py --config tiny-cpu.json --run RUN --to models/NAME [--stage video]
"""
from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch

import diffusion
import distill
import text
import vae
from captions import vocabulary
from common import load_config
from world import World

TOKENIZER_CLASS = "T5Tokenizer"
SHARD = "15MB"


def newest_unet(config: dict, run: Path, stage: str | None) -> tuple:
    """(unet, stage it comes from): the finished stage, else the moving average of its checkpoint."""
    unet = diffusion.build(config)
    for name in [stage] if stage else ["distill", "video", "image"]:
        if (run / f"{name}-ready.pt").exists():
            unet.load_state_dict(torch.load(run / f"{name}-ready.pt", map_location="cpu", weights_only=True))
            return unet, name
        if (run / f"{name}.pt").exists():
            state = torch.load(run / f"{name}.pt", map_location="cpu", weights_only=True)
            unet.load_state_dict(state["model"])
            for p, mean in zip(unet.parameters(), state["ema"]["mean"]):
                p.data.copy_(mean)
            return unet, f"{name} (step {state['step']})"
    return unet, "none: random weights"


def average_unets(config: dict, runs: list, stage: str | None) -> tuple:
    """Mean weights of runs that went on from one checkpoint with other seeds: cheap noise reduction at the end."""
    unet, source = newest_unet(config, runs[0], stage)
    others = [newest_unet(config, run, stage)[0] for run in runs[1:]]
    with torch.no_grad():
        for name, p in unet.named_parameters():
            for other in others:
                p += other.get_parameter(name)
            p /= len(runs)
    return unet, source


def write_tokenizer(config: dict, run: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "spiece.model", folder / "spiece.model")
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings = {"tokenizer_class": TOKENIZER_CLASS, "model_max_length": config["tokens"], "extra_ids": 0,
                "additional_special_tokens": [], "legacy": False, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of every file but the card and its picture."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("README.md", "samples.png")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def own_settings(config: dict, source: str) -> dict:
    """What t2v reads from model_index.json: its defaults, and the words that the UNet has been shown."""
    known, ignored = vocabulary(World.from_config({**config["world"], **config.get("denoiser_world", {})}))
    few = {"steps": config["stages"]["distill"]["steps"], "cfg_scale": 1.0} if source.startswith("distill") else {}
    return {**config["t2v"], **few, "known_words": " ".join(known), "ignored_words": " ".join(ignored)}


def export(config: dict, runs: list, to: Path, stage: str | None = None) -> str:
    run = runs[0]
    to.mkdir(parents=True, exist_ok=True)
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        shutil.rmtree(to / part, ignore_errors=True)
    unet, source = average_unets(config, runs, stage)
    unet.half().save_pretrained(to / "unet", safe_serialization=True, max_shard_size=SHARD)
    vae.load(config, run, "cpu").half().save_pretrained(to / "vae", safe_serialization=True, max_shard_size=SHARD)
    encoder = text.load(config, run, "cpu")[1]
    encoder.half().save_pretrained(to / "text_encoder", safe_serialization=True, max_shard_size=SHARD)
    write_tokenizer(config, run, to / "tokenizer")
    scheduler = distill.scheduler() if source.startswith("distill") else diffusion.few_step_scheduler()
    scheduler.save_pretrained(to / "scheduler")
    for file in to.rglob("*.json"):  # nothing of the machine that exported it
        values = json.loads(file.read_text())
        if values.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(values, indent=2) + "\n")
    index = {
        "_class_name": "TextToVideoSDPipeline", "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", type(scheduler).__name__], "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", TOKENIZER_CLASS], "unet": ["diffusers", "UNet3DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "t2v": own_settings(config, source)}
    (to / "model_index.json").write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    sizes = {str(f.relative_to(to)): f.stat().st_size for f in to.rglob("*") if f.is_file()}
    assert max(sizes.values()) <= 16 << 20 and sum(sizes.values()) <= 45_000_000, sizes
    print(f"{to}: unet from stage {source}, {sum(sizes.values()) / 1e6:.1f} MB, content {content_hash(to)}")
    return source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--run", required=True, nargs="+", help="one run, or several to average")
    parser.add_argument("--to", required=True)
    parser.add_argument("--stage")
    args = parser.parse_args()
    export(load_config(args.config), [Path(run) for run in args.run], Path(args.to), args.stage)


if __name__ == "__main__":
    main()
