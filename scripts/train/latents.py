# SPDX-License-Identifier: Apache-2.0
"""Designed latents for machines too slow to learn good ones: a thumbnail of the picture and of the object's mask.

A cell of 8×8 pixels becomes its mean brightness, two mean colour differences and the share that an object covers of the
cell (4 channels) or of each of its quarters (7 channels), each scaled to zero mean and unit variance. Every edge crosses a
cell in some proportion, so the decoder can put it back sharply; the encoder is taught the same numbers, so the result is an
ordinary AutoencoderKL.
"""
from __future__ import annotations

import copy
import random

import torch
import torch.nn.functional as F

from world import World, render


def _masks(scenes: list) -> list:
    """The same scenes as white objects on black: their picture is the coverage."""
    out = []
    for scene in scenes:
        twin = copy.deepcopy(scene)
        twin.background_rgb, twin.background_kind = (0.0, 0.0, 0.0), "plain"
        for thing in twin.things:
            thing.rgb, thing.texture = (1.0, 1.0, 1.0), "solid"
        out.append(twin)
    return out


def _pooled(scenes: list, times: list, size: int, device, quarters: bool) -> tuple:
    """(frames N 3 H W in -1 … 1, thumbnails N 4 or 7 H/8 W/8 before scaling)."""
    x = render(scenes, times, size, device).flatten(0, 1)
    mask = render(_masks(scenes), times, size, device).flatten(0, 1)[:, :1]
    r, g, b = x.split(1, 1)
    colours = torch.cat([(r + g + b) / 3, r - b, g - (r + b) / 2], 1)
    covered = F.pixel_unshuffle(F.avg_pool2d(mask, 4), 2) if quarters else F.avg_pool2d(mask, 8)
    return x * 2 - 1, torch.cat([F.avg_pool2d(colours, 8), covered], 1)


class Thumbnails:
    """Scaling constants measured once on a fixed sample of the world, so that every process has the same."""

    def __init__(self, world: World, size: int, device, channels: int):
        self.quarters = channels == 7
        rng = random.Random(4321)
        scenes = [world.sample(rng, split="any") for _ in range(1024)]
        _, z = _pooled(scenes, [[rng.random()] for _ in scenes], size, device, self.quarters)
        self.mean = z.mean(dim=(0, 2, 3), keepdim=True)
        self.std = z.std(dim=(0, 2, 3), keepdim=True)
        self.size, self.device = size, device

    def __call__(self, scenes: list, times: list) -> tuple:
        """(frames N 3 H W in -1 … 1, latents N 4 or 7 h w) of all moments of all scenes."""
        x, z = _pooled(scenes, times, self.size, self.device, self.quarters)
        return x, (z - self.mean) / self.std
