# SPDX-License-Identifier: Apache-2.0
"""A look at the running average in the middle of a stage: a few prompts, sampled and judged without leaving the process.

Coarser than tests/verifier, which has the last word, but enough to see which attribute is being learned.
"""
from __future__ import annotations

import itertools
import random
import time

import torch

import text
import vae
from captions import plain_prompt
from common import log
from world import COLOURS, DIRECTIONS, Scene, Thing, held_out, render


@torch.no_grad()
def sample(unet, scheduler, states, null, frames: int, size: int, steps: int, guidance: float, generator) -> torch.Tensor:
    """Latents B C F H W after `steps` of the scheduler; guidance 1 asks the UNet once a step."""
    scheduler.set_timesteps(steps)
    x = torch.randn(len(states), 4, frames, size, size, generator=generator)
    for t in scheduler.timesteps:
        v = unet(x, t, states).sample
        if guidance != 1:
            blank = unet(x, t, null.expand_as(states)).sample
            v = blank + guidance * (v - blank)
        x = scheduler.step(v, t, x, return_dict=False)[0]
    return x


def cover_of(frames: torch.Tensor) -> tuple:
    """(N H W share of the object in each pixel, N 3 its colour, N 3 the background's) of pictures in 0 … 1."""
    border = torch.cat([frames[:, :, 0], frames[:, :, -1], frames[:, :, :, 0], frames[:, :, :, -1]], 2)
    ground = border.median(2).values
    away = (frames - ground[..., None, None]).norm(dim=1)
    core = away.flatten(1) >= away.flatten(1).quantile(0.96, dim=1, keepdim=True)
    thing = (frames.flatten(2) * core[:, None]).sum(2) / core.sum(1, keepdim=True)
    cover = (away / (thing - ground).norm(dim=1)[:, None, None].clamp(min=0.05)).clamp(0, 1)
    return torch.where(cover > 0.15, cover, 0), thing, ground


def centres(cover: torch.Tensor) -> torch.Tensor:
    """N 2: the middle of mass in parts of the width."""
    size = cover.shape[-1]
    grid = (torch.arange(size) + 0.5) / size
    mass = cover.sum((1, 2)).clamp(min=1e-6)
    return torch.stack([(cover.sum(1) * grid).sum(1) / mass, (cover.sum(2) * grid).sum(1) / mass], 1)


def seen_motion(track: torch.Tensor) -> str | None:
    """The words of a track F 2, by the thresholds of tests/verifier."""
    t = torch.linspace(-0.5, 0.5, len(track))
    slope = (track * t[:, None]).sum(0) / (t * t).sum()
    rest = track - track.mean(0) - slope * t[:, None]
    spread = (track - track.mean(0)).square().sum()
    if slope.norm() >= 0.15 and 1 - rest.square().sum() / spread >= 0.8:
        unit = slope / slope.norm()
        return max(DIRECTIONS, key=lambda d: float(unit @ torch.nn.functional.normalize(torch.tensor(DIRECTIONS[d]).float(), dim=0)))
    return None if float((track.amax(0) - track.amin(0)).max()) > 0.1 else "still"


def seen_shape(cover: torch.Tensor, shapes: tuple) -> str:
    """The shape whose drawing of the same area and middle overlaps most."""
    size = cover.shape[-1]
    x, y = centres(cover[None])[0].tolist()
    best = {}
    for shape in shapes:
        for turn in (-0.1, 0.0, 0.1):
            thing = Thing(shape, "white", "large", "solid", "still", "normal", 0.25, (0.5, 0.5), 0.0, turn, (1.0, 1.0, 1.0))
            scene = Scene([thing], "black")
            unit = render([scene], [[0.5]], size)[0, :, :1]
            middle = centres(unit[0])[0].tolist()
            thing.radius = 0.25 * float(cover.sum() / unit.sum()) ** 0.5
            scale = thing.radius / 0.25
            thing.start = (x - (middle[0] - 0.5) * scale, y - (middle[1] - 0.5) * scale)
            drawn = render([scene], [[0.5]], size)[0, 0, 0]
            overlap = float(torch.minimum(drawn, cover).sum() / torch.maximum(drawn, cover).sum())
            best[shape] = max(best.get(shape, 0), overlap)
    return max(best, key=best.get)


class Judge:
    """Keeps the prompts, the decoder and the clock of the looks of one stage."""

    def __init__(self, config, world, out, device, unet, ema, make_scheduler, count: int = 48):
        self.config, self.world, self.unet, self.ema, self.make_scheduler = config, world, unet, ema, make_scheduler
        self.tokenizer, self.encoder = text.load(config, out, device)
        self.decoder = vae.load(config, out, device)
        triples = [t for t in itertools.product(world.shapes, world.colours, world.motions) if not held_out(*t)]
        self.triples = random.Random(5).sample(triples, count)
        self.last = time.monotonic()

    def due(self, minutes: float) -> bool:
        return time.monotonic() - self.last > 60 * minutes

    @torch.no_grad()
    def report(self, frames: int, steps: int = 8, guidance: float = 3.0) -> None:
        started = time.monotonic()
        self.ema.swap()
        prompts = [plain_prompt(Thing(s, c, "large", "solid", m, "normal")) for s, c, m in self.triples]
        states = text.encode(self.encoder, self.tokenizer(prompts))
        null = text.encode(self.encoder, self.tokenizer([""]))
        z = sample(self.unet, self.make_scheduler(), states, null, frames, self.config["size"] // 8, steps, guidance,
                   torch.Generator().manual_seed(1))
        self.ema.swap()
        self.judge(z, f"look at {frames} frames, {steps} steps, guidance {guidance}", started)

    def judge(self, z: torch.Tensor, title: str, started: float) -> None:
        right = {"colour": 0, "motion": 0, "shape": 0}
        strength, motions = 0.0, {}
        names = list(self.world.colours) + list(self.world.backgrounds)
        palette = torch.tensor([COLOURS[c] for c in self.world.colours], dtype=torch.float32) / 255
        for clip, (shape, colour, motion) in zip(z, self.triples):
            picks = range(0, clip.shape[1], max(1, clip.shape[1] // 8))
            pictures = self.decoder.decode(clip[:, list(picks)].transpose(0, 1)).sample.clamp(-1, 1) / 2 + 0.5
            cover, thing, ground = cover_of(pictures)
            strength += float((thing - ground).norm(dim=1).mean()) / len(z)
            seen = names[int((thing.mean(0) - palette).norm(dim=1).argmin())]
            moved = seen_motion(centres(cover)) if clip.shape[1] > 1 else motion
            right["colour"] += seen == colour
            right["motion"] += moved == motion
            right["shape"] += seen_shape(cover[len(cover) // 2], self.world.shapes) == shape
            motions.setdefault(motion, []).append(moved or "?")
        for motion, seen in motions.items():
            log("  ", motion, "->", " ".join(seen))
        log(title, {k: f"{100 * v / len(z):.0f} %" for k, v in right.items()}, f"contrast {strength:.2f}",
            f"{time.monotonic() - started:.0f} s")
        self.last = time.monotonic()
