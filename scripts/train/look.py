# SPDX-License-Identifier: Apache-2.0
"""A look at the running average in the middle of a stage: a few prompts, sampled and judged without leaving the process.

Coarser than tests/verifier, which has the last word, but enough to see which attribute is being learned.
"""
from __future__ import annotations

import collections
import itertools
import random
import time

import torch

import text
import vae
from captions import plain_prompt
from common import log
from world import BACKGROUNDS, COLOURS, DIRECTIONS, SHAPES, Scene, Thing, held_out, render, visible


@torch.no_grad()
def sample(unet, scheduler, states, null, frames: int, size: int, steps: int, guidance: float, generator) -> torch.Tensor:
    """Latents B C F H W after `steps` of the scheduler; guidance 1 asks the UNet once a step."""
    scheduler.set_timesteps(steps)
    x = torch.randn(len(states), unet.config.in_channels, frames, size, size, generator=generator).to(states.device)
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


def line(t: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Slope of the columns of v over t, which is centred on zero."""
    return (v * t[:, None]).sum(0) / (t * t).sum()


def seen_motion(track: torch.Tensor, roots: torch.Tensor) -> str | None:
    """The words of a track F 2 and of the roots of the areas F, by the thresholds of tests/verifier."""
    t = torch.linspace(-0.5, 0.5, len(track))
    slope = line(t, track)
    rest = track - track.mean(0) - slope * t[:, None]
    spread = (track - track.mean(0)).square().sum()
    if slope.norm() >= 0.15 and 1 - rest.square().sum() / spread >= 0.8:
        unit = slope / slope.norm()
        return max(DIRECTIONS, key=lambda d: float(unit @ torch.nn.functional.normalize(torch.tensor(DIRECTIONS[d]).float(), dim=0)))
    if float((track.amax(0) - track.amin(0)).max()) > 0.1:
        return None
    half = float(line(t, roots[:, None]) / 2)
    growth = (float(roots.mean()) + half) / max(float(roots.mean()) - half, 1e-6)
    return "grow" if growth > 1.25 else "shrink" if growth < 0.8 else "still"


def seen_shape(cover: torch.Tensor, shapes: tuple) -> tuple:
    """(the shape whose drawing of the same area and middle overlaps most, its radius)."""
    size = cover.shape[-1]
    x, y = centres(cover[None])[0].tolist()
    best, radii = {}, {}
    for shape in shapes:
        for turn in (-0.1, 0.0, 0.1):
            thing = Thing(shape, "white", "large", "solid", "still", "normal", 0.25, (0.5, 0.5), 0.0, turn, (1.0, 1.0, 1.0))
            scene = Scene([thing], "black")
            unit = render([scene], [[0.5]], size)[0, :, :1]
            middle = centres(unit[0])[0].tolist()
            thing.radius = 0.25 * float(cover.sum() / unit.sum()) ** 0.5
            scale = thing.radius / 0.25
            radii[shape] = thing.radius
            thing.start = (x - (middle[0] - 0.5) * scale, y - (middle[1] - 0.5) * scale)
            drawn = render([scene], [[0.5]], size)[0, 0, 0]
            overlap = float(torch.minimum(drawn, cover).sum() / torch.maximum(drawn, cover).sum())
            best[shape] = max(best.get(shape, 0), overlap)
    shape = max(best, key=best.get)
    return shape, radii[shape]


SEEN = ("still", *DIRECTIONS, "grow", "shrink")  # the other motions are left to tests/verifier


def seen_size(radius: float) -> str:
    return "small" if radius < 0.155 else "medium" if radius < 0.21 else "large"


class Judge:
    """Keeps the prompts, the decoder and the clock of the looks of one stage."""

    def __init__(self, config, world, out, device, unet, ema, make_scheduler, count: int = 60):
        self.config, self.world, self.unet, self.ema, self.make_scheduler = config, world, unet, ema, make_scheduler
        self.device = device
        self.tokenizer, self.encoder = text.load(config, out, device)
        self.decoder = vae.load(config, out, device)
        rng = random.Random(5)
        triples = [t for t in itertools.product(world.shapes, world.colours, world.motions) if not held_out(*t)]
        self.things = [Thing(*t[:2], rng.choice(world.sizes), "solid", t[2], "normal") for t in rng.sample(triples, count)]
        self.grounds = [self._ground(rng, thing) for thing in self.things]
        self.last = time.monotonic()

    def _ground(self, rng: random.Random, thing: Thing) -> str:
        return rng.choice([b for b in self.world.backgrounds if visible(thing.colour, b)])

    def prompts(self) -> list:
        """Every third in Chinese, every second with its background; the size is said where it is judged."""
        return [plain_prompt(t, b if k % 2 else None, chinese=k % 3 == 2, size=len(self.world.sizes) > 1)
                for k, (t, b) in enumerate(zip(self.things, self.grounds))]

    def due(self, minutes: float) -> bool:
        return time.monotonic() - self.last > 60 * minutes

    @torch.no_grad()
    def report(self, frames: int, steps: int | None = None, guidance: float | None = None) -> None:
        """Steps and guidance are those of the model to be, where none are given."""
        started = time.monotonic()
        steps, guidance = steps or self.config["t2v"]["steps"], guidance or self.config["t2v"]["cfg_scale"]
        self.ema.swap()
        states, null = (text.encode(self.encoder, self.tokenizer(texts).to(self.device)) for texts in (self.prompts(), [""]))
        z = sample(self.unet, self.make_scheduler(), states, null, frames, self.config["size"] // 8, steps, guidance,
                   torch.Generator().manual_seed(1))
        self.ema.swap()
        self.judge(z, f"look at {frames} frames, {steps} steps, guidance {guidance}", started)

    def judge(self, z: torch.Tensor, title: str, started: float) -> None:
        asked, right = collections.Counter(), collections.Counter()
        strength, seen = 0.0, {}
        names, grounds = (palette(table, words) for table, words in
                          ((COLOURS, tuple(COLOURS)), (BACKGROUNDS, tuple(BACKGROUNDS))))
        for k, (clip, thing, ground) in enumerate(zip(z, self.things, self.grounds)):
            picks = range(0, clip.shape[1], max(1, clip.shape[1] // 8))
            pictures = self.decoder.decode(clip[:, list(picks)].transpose(0, 1)).sample.cpu().clamp(-1, 1) / 2 + 0.5
            cover, colour, behind = cover_of(pictures)
            strength += float((colour - behind).norm(dim=1).mean()) / len(z)
            shape, radius = seen_shape(cover[len(cover) // 2], SHAPES)
            hue, behind = nearest(colour, *names), nearest(behind, *grounds)
            found = {"colour": hue == thing.colour, "shape": shape == thing.shape}
            seen.setdefault(thing.colour, []).append(hue)
            moved = "?"
            if clip.shape[1] > 1 and thing.motion in SEEN:
                moved = seen_motion(centres(cover), cover.sum((1, 2)).sqrt()) or "?"
                found["motion"] = moved == thing.motion
            if thing.motion not in ("grow", "shrink"):
                found["size"] = seen_size(radius) == thing.size
                seen.setdefault(thing.size, []).append(seen_size(radius))
            if k % 2:
                found["background"] = behind == ground
                seen.setdefault(f"on {ground}", []).append(f"on {behind}")
            found["Chinese" if k % 3 == 2 else "English"] = all(found.values())
            asked.update(found.keys())
            right.update(key for key, ok in found.items() if ok)
            seen.setdefault(thing.motion, []).append(moved)
            seen.setdefault(thing.shape, []).append(shape)
        for word, what in sorted(seen.items()):
            log("  ", word, "->", " ".join("." if w == word else w for w in what))
        log(title, {k: f"{100 * right[k] / n:.0f} %" for k, n in asked.items()}, f"contrast {strength:.2f}",
            f"{time.monotonic() - started:.0f} s")
        self.last = time.monotonic()


def palette(table: dict, words: tuple) -> tuple:
    return words, torch.tensor([table[w] for w in words], dtype=torch.float32) / 255


def nearest(colours: torch.Tensor, words: tuple, table: torch.Tensor) -> str:
    return words[int((colours.mean(0) - table).norm(dim=1).argmin())]
