# SPDX-License-Identifier: Apache-2.0
"""The procedural world: what can be in a clip, how a clip is drawn, and which clips are never trained.

A clip is a `Scene` (plain numbers and words, so it is also the truth a scorer reads); `render` draws batches of scenes
with signed distance functions and anti-aliasing on any torch device. Nothing is stored on disk.
"""
from __future__ import annotations

import math
import random
import zlib
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

SHAPES = ("circle", "square", "triangle", "star", "diamond", "ring", "cross", "heart", "hexagon", "ellipse")
COLOURS = {
    "red": (220, 40, 40), "orange": (255, 140, 0), "yellow": (250, 220, 40), "green": (40, 180, 70),
    "cyan": (40, 200, 215), "blue": (40, 80, 220), "purple": (150, 60, 200), "pink": (255, 105, 180),
    "brown": (139, 69, 19), "white": (240, 240, 240), "grey": (128, 128, 128), "black": (20, 20, 20),
}
BACKGROUNDS = {
    "black": (20, 20, 20), "white": (240, 240, 240), "grey": (128, 128, 128), "navy": (25, 30, 80),
    "beige": (225, 210, 175), "light blue": (170, 205, 235), "dark green": (20, 70, 45), "light pink": (245, 210, 220),
}
BACKGROUND_KINDS = ("plain", "gradient", "grid", "stars", "noise")
SIZES = {"small": (0.12, 0.15), "medium": (0.16, 0.20), "large": (0.22, 0.28)}  # radius as a part of the width
TEXTURES = ("solid", "striped", "checkered", "dotted", "outlined")
DIRECTIONS = {
    "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1),
    "up-left": (-1, -1), "up-right": (1, -1), "down-left": (-1, 1), "down-right": (1, 1),
}
MOTIONS = ("still", *DIRECTIONS, "bounce-horizontal", "bounce-vertical", "circle-cw", "circle-ccw", "rotate-cw",
           "rotate-ccw", "grow", "shrink", "blink")
SPEEDS = {"slow": 0.25, "normal": 0.42, "fast": 0.68}  # travel over the clip as a part of the width
CAMERAS = ("static", "pan-left", "pan-right", "pan-up", "pan-down", "zoom-in", "zoom-out")
RELATIONS = ("left of", "right of", "above", "below", "behind", "apart", "toward", "passing")


@dataclass
class Thing:
    """One object: words for the caption and the numbers drawn for it."""

    shape: str
    colour: str
    size: str
    texture: str
    motion: str
    speed: str
    radius: float = 0.0
    start: tuple = (0.5, 0.5)
    travel: float = 0.0
    angle: float = 0.0
    rgb: tuple = (0.0, 0.0, 0.0)


@dataclass
class Scene:
    things: list
    background: str
    background_kind: str = "plain"
    camera: str = "static"
    relation: str | None = None
    background_rgb: tuple = (0.0, 0.0, 0.0)
    texture_seed: int = 0


def held_out(shape: str, colour: str, motion: str) -> bool:
    """One (shape, colour, motion) triple of ten is kept for the test of composition and never trained."""
    return zlib.crc32(f"{shape}|{colour}|{motion}".encode()) % 10 == 0


@dataclass
class World:
    """Which part of the vocabulary a configuration trains, and how often the parts that learn slowly are drawn."""

    shapes: tuple = SHAPES
    shape_weights: tuple = ()
    colours: tuple = tuple(COLOURS)
    colour_weights: tuple = ()
    backgrounds: tuple = tuple(BACKGROUNDS)
    background_weights: tuple = ()
    background_kinds: tuple = BACKGROUND_KINDS
    sizes: tuple = tuple(SIZES)
    size_weights: tuple = ()
    size_spread: float = 1.0  # how much of a size's range of radii, around its middle, is used
    textures: tuple = TEXTURES
    motions: tuple = MOTIONS
    motion_weights: tuple = ()
    speeds: tuple = tuple(SPEEDS)
    cameras: tuple = CAMERAS
    relations: tuple = RELATIONS
    two_objects: float = 0.35
    rotated: bool = True  # a random start angle for shapes at rest (a few degrees otherwise)
    spread: float = 1.0  # how much of the room around the middle the starts use
    extra: dict = field(default_factory=dict)

    @staticmethod
    def from_config(config: dict) -> "World":
        known = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        return World(**known)

    def sample(self, rng: random.Random, *, split: str = "train") -> Scene:
        """Draws a scene; split "train" avoids the held-out triples, "held" draws only those, "any" ignores them."""
        while True:
            scene = self._draw(rng)
            held = [held_out(t.shape, t.colour, t.motion) for t in scene.things]
            if split == "train" and any(held) or split == "held" and not held[0]:
                continue
            if all(visible(t.colour, scene.background) for t in scene.things):
                return scene

    def place(self, rng: random.Random, scene: Scene) -> Scene:
        """Fills in the numbers of a scene whose words are set."""
        scene.background_rgb = _jitter(rng, BACKGROUNDS[scene.background], 6)
        scene.texture_seed = rng.randrange(1 << 30)
        for thing in scene.things:
            thing.rgb = _jitter(rng, COLOURS[thing.colour], 10)
            low, high = SIZES[thing.size]
            thing.radius = (low + high) / 2 + self.size_spread * (rng.uniform(low, high) - (low + high) / 2)
            thing.travel = SPEEDS[thing.speed] * rng.uniform(0.9, 1.1)
            thing.angle = rng.uniform(-0.12, 0.12)
            if self.rotated and thing.motion.startswith("rotate"):
                thing.angle = rng.uniform(-math.pi, math.pi)
            thing.start = _start(rng, thing, self.spread)
        if len(scene.things) == 2:
            _relate(rng, scene)
        return scene

    def _draw(self, rng: random.Random) -> Scene:
        count = 2 if rng.random() < self.two_objects else 1
        things = [self._thing(rng) for _ in range(count)]
        weights = self.background_weights
        scene = Scene(things, rng.choices(self.backgrounds, weights)[0] if weights else rng.choice(self.backgrounds))
        scene.background_kind = rng.choice(self.background_kinds) if rng.random() < 0.4 else self.background_kinds[0]
        scene.camera = rng.choice(self.cameras) if rng.random() < 0.3 else self.cameras[0]
        if scene.camera != "static" and scene.background_kind == "plain":
            scene.background_kind = rng.choice([k for k in self.background_kinds if k != "plain"] or ["plain"])
        if count == 2:
            scene.relation = rng.choice(self.relations)
        return self.place(rng, scene)

    def _thing(self, rng: random.Random) -> Thing:
        texture = rng.choice(self.textures) if rng.random() < 0.4 else self.textures[0]
        speed = "normal" if "normal" in self.speeds and rng.random() < 0.5 else rng.choice(self.speeds)
        motion = rng.choices(self.motions, self.motion_weights or None)[0]
        size = rng.choices(self.sizes, self.size_weights or None)[0]
        shape = rng.choices(self.shapes, self.shape_weights or None)[0]
        colour = rng.choices(self.colours, self.colour_weights)[0] if self.colour_weights else rng.choice(self.colours)
        return Thing(shape, colour, size, texture, motion, speed)


def _jitter(rng: random.Random, rgb: tuple, amount: int) -> tuple:
    return tuple(min(1.0, max(0.0, (c + rng.uniform(-amount, amount)) / 255)) for c in rgb)


def visible(colour: str, background: str) -> bool:
    """Far enough apart in RGB to be told from the background (a cheap stand-in for a distance in Lab)."""
    return math.dist(COLOURS[colour], BACKGROUNDS[background]) > 90


def _span(rng: random.Random, low: float, high: float, shift: float, spread: float) -> float:
    """A start within [low, high] whose end, `shift` away, is within it too (or as near as can be)."""
    a, b = max(low, low - shift), min(high, high - shift)
    return (a + b) / 2 + spread * (rng.uniform(a, b) - (a + b) / 2) if a < b else (a + b) / 2


def _start(rng: random.Random, thing: Thing, spread: float) -> tuple:
    margin = 0.95 * thing.radius * (1.6 if thing.motion in ("grow", "shrink") else 1.0)
    dx, dy = DIRECTIONS.get(thing.motion, (0, 0))
    if thing.motion.startswith("circle"):
        margin += 0.2
    if thing.motion.startswith("bounce"):
        return rng.uniform(margin, 1 - margin), rng.uniform(margin, 1 - margin)
    if dx and dy:
        thing.travel *= 0.85  # along each axis
    return (_span(rng, margin, 1 - margin, dx * thing.travel, spread),
            _span(rng, margin, 1 - margin, dy * thing.travel, spread))


def _relate(rng: random.Random, scene: Scene) -> None:
    """Places two objects so that the relation holds; the relation's own motion replaces theirs where it has one."""
    a, b = scene.things
    for thing in (a, b):
        thing.radius = min(thing.radius, 0.17)
    gap = (a.radius + b.radius) * 1.15
    c, across = 0.5 * gap, rng.uniform(0.35, 0.65)
    if scene.relation in ("above", "below"):
        sign = -1 if scene.relation == "above" else 1
        a.start, b.start = (across, 0.5 + sign * c), (across, 0.5 - sign * c)
    elif scene.relation == "behind":
        a.start, b.start = (across - b.radius * 0.7, 0.5), (across, 0.5)
    elif scene.relation == "passing":
        a.motion, b.motion = "right", "left"
        a.start, b.start = (0.5 - a.travel / 2, 0.5 - c), (0.5 + b.travel / 2, 0.5 + c)
        return
    else:
        sign = 1 if scene.relation == "right of" else -1
        a.start, b.start = (0.5 + sign * c, across), (0.5 - sign * c, across)
    if scene.relation in ("apart", "toward"):
        out = scene.relation == "apart"
        a.motion, b.motion = ("left", "right") if out else ("right", "left")
        a.travel = b.travel = 0.2
        far = 0.0 if out else 0.2
        a.start, b.start = (0.5 - c - far, across), (0.5 + c + far, across)
    else:
        for thing in (a, b):  # the relation has to hold in the whole clip
            thing.motion, thing.travel = ("still", 0.0) if thing.motion in DIRECTIONS else (thing.motion, 0.1)


# ------------------------------------------------------------------------------------------------- drawing

def pose(thing: Thing, t: float) -> tuple:
    """(x, y, radius, angle, alpha) at time t in 0 … 1, in parts of the width."""
    x, y = thing.start
    r, angle, alpha = thing.radius, thing.angle, 1.0
    if thing.motion in DIRECTIONS:
        dx, dy = DIRECTIONS[thing.motion]
        x, y = x + dx * thing.travel * t, y + dy * thing.travel * t
    elif thing.motion == "bounce-horizontal":
        x = _reflect(x + 2.2 * thing.travel * t, r)
    elif thing.motion == "bounce-vertical":
        y = _reflect(y + 2.2 * thing.travel * t, r)
    elif thing.motion.startswith("circle"):
        turn = 2 * math.pi * t * (1 if thing.motion.endswith("-cw") else -1)
        x, y = x + 0.2 * math.cos(turn), y + 0.2 * math.sin(turn)
    elif thing.motion.startswith("rotate"):
        angle += 2 * math.pi * thing.travel * t * (1 if thing.motion.endswith("-cw") else -1)
    elif thing.motion == "grow":
        r *= 0.6 + t
    elif thing.motion == "shrink":
        r *= 1.6 - t
    elif thing.motion == "blink":
        alpha = 0.5 + 0.5 * math.cos(4 * math.pi * t)
    return x, y, r, angle, alpha


def _reflect(x: float, margin: float) -> float:
    span = 1 - 2 * margin
    phase = (x - margin) % (2 * span)
    return margin + (phase if phase <= span else 2 * span - phase)


def _circle(x, y):
    return (x * x + y * y).sqrt() - 1


def _box(x, y, half_x, half_y):
    return torch.maximum(x.abs() - half_x, y.abs() - half_y)


def _polygon(x, y, sides, inradius, turn):
    """Regular polygon as the largest of its half-planes."""
    angles = [turn + 2 * math.pi * k / sides for k in range(sides)]
    return torch.stack([x * math.cos(a) + y * math.sin(a) for a in angles]).amax(0) - inradius


def _star(x, y, tip=1.28, notch=0.60):
    """Five points: folds the plane into one tenth and takes the line from a tip to the notch beside it."""
    fold = math.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + fold, 2 * fold) - fold
    rho = (x * x + y * y).sqrt()
    px, py = rho * angle.cos(), rho * angle.abs().sin()
    ex, ey = notch * math.cos(fold) - tip, notch * math.sin(fold)
    return ((px - tip) * ey - py * ex) / math.hypot(ex, ey)


def _heart(x, y, half=0.72):
    """A square on its corner with a half-disc on each of its upper sides."""
    x, y = x.abs(), y - 0.12
    u, v = (x + y) / math.sqrt(2), (x - y) / math.sqrt(2)
    disc = ((u) ** 2 + (v - half) ** 2).sqrt() - half
    return torch.minimum(torch.maximum(u.abs(), v.abs()) - half, disc)


SDF = {
    "circle": _circle,
    "square": lambda x, y: _box(x, y, 0.9, 0.9),
    "triangle": lambda x, y: _polygon(x, y - 0.2, 3, 0.66, math.pi / 2),
    "star": _star,
    "diamond": lambda x, y: (x.abs() / 0.85 + y.abs() / 1.3 - 1) * 0.71,
    "ring": lambda x, y: ((x * x + y * y).sqrt() - 0.76).abs() - 0.28,
    "cross": lambda x, y: torch.minimum(_box(x, y, 1.05, 0.36), _box(x, y, 0.36, 1.05)),
    "heart": _heart,
    "hexagon": lambda x, y: _polygon(x, y, 6, 0.95, math.pi / 2),
    "ellipse": lambda x, y: (((x / 1.35) ** 2 + (y / 0.72) ** 2).sqrt() - 1) * 0.9,
}


def _tint(texture: str, x, y, distance):
    """How much of the object's colour (1) against its darker twin (0) is at a point."""
    if texture == "striped":
        return (torch.remainder(x * 2.5, 1) < 0.5).float()
    if texture == "checkered":
        return (torch.remainder(torch.floor(x * 2.5) + torch.floor(y * 2.5), 2) < 0.5).float()
    if texture == "dotted":
        return (((torch.remainder(x * 2, 1) - 0.5) ** 2 + (torch.remainder(y * 2, 1) - 0.5) ** 2) > 0.06).float()
    if texture == "outlined":
        return (distance > -0.22).float()
    return torch.ones_like(x)


def _camera(scene: Scene, t: float) -> tuple:
    """(shift x, shift y, zoom) of what is seen."""
    move = {"pan-left": (-1, 0), "pan-right": (1, 0), "pan-up": (0, -1), "pan-down": (0, 1)}.get(scene.camera, (0, 0))
    zoom = {"zoom-in": 1 + 0.4 * t, "zoom-out": 1.4 - 0.4 * t}.get(scene.camera, 1.0)
    return 0.25 * move[0] * (t - 0.5), 0.25 * move[1] * (t - 0.5), zoom


def _backdrops(scenes: list, x, y):
    """N H W 3 backgrounds of N scenes, seen at their scene coordinates x, y (N H W)."""
    device = x.device
    base = torch.tensor([s.background_rgb for s in scenes], device=device)[:, None, None]
    level = torch.ones_like(x)
    by_kind: dict = {}
    for i, scene in enumerate(scenes):
        by_kind.setdefault(scene.background_kind, []).append(i)
    for kind, members in by_kind.items():
        i = torch.tensor(members, device=device)
        if kind == "gradient":
            level[i] = 0.75 + 0.5 * y[i].clamp(0, 1)
        elif kind == "grid":
            line = (torch.remainder(x[i] * 6, 1) < 0.1) | (torch.remainder(y[i] * 6, 1) < 0.1)
            level[i] = 1 + 0.25 * line.float()
        elif kind in ("stars", "noise"):
            seed = torch.tensor([scenes[k].texture_seed % 1000 for k in members], device=device)[:, None, None]
            cell = 20 if kind == "stars" else 12
            h = torch.sin(torch.floor(x[i] * cell) * 127.1 + torch.floor(y[i] * cell) * 311.7 + seed) * 43758.5453
            h = h - torch.floor(h)
            level[i] = 1 + (2.0 * (h > 0.95).float() if kind == "stars" else 0.2 * (h - 0.5))
    return (base * level[..., None] + 0.15 * (level > 1.5).float()[..., None]).clamp(0, 1)


def render(scenes: list, times: list, size: int, device="cpu") -> torch.Tensor:
    """Frames of `scenes[i]` at the moments `times[i]` (0 … 1): B F 3 H W in 0 … 1. All lists in `times` are as long."""
    count, frames = len(scenes), len(times[0])
    grid = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    gy, gx = torch.meshgrid(grid, grid, indexing="ij")
    out = torch.empty(count * frames, size, size, 3, device=device)
    flat = [(scene, t) for scene, moments in zip(scenes, times) for t in moments]
    views = torch.tensor([_camera(s, t) for s, t in flat], device=device)
    plain = all(s.camera == "static" and s.background_kind == "plain" for s in scenes)
    if plain:
        x, y = gx.expand(len(flat), size, size), gy.expand(len(flat), size, size)
        out[:] = torch.tensor([s.background_rgb for s, _ in flat], device=device)[:, None, None]
    else:
        x = (gx - 0.5) / views[:, 2, None, None] + 0.5 + views[:, 0, None, None]
        y = (gy - 0.5) / views[:, 2, None, None] + 0.5 + views[:, 1, None, None]
        out[:] = _backdrops([s for s, _ in flat], x, y)
    for k in range(2):
        _draw(out, [(i, s.things[k], t) for i, (s, t) in enumerate(flat) if k < len(s.things)], x, y, size, device)
    return out.view(count, frames, size, size, 3).permute(0, 1, 4, 2, 3)


def telling(scenes: list, times: list, size: int, device, shapes: tuple, cell: int = 4) -> torch.Tensor:
    """B F 1 h w, a value for every cell of `cell`×`cell` pixels: how far its coverage would differ if an object had another
    of `shapes`; the cells that tell them apart. Of two objects each counts where it is."""
    flat = [(scene, t) for scene, moments in zip(scenes, times) for t in moments]
    grid = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    gy, gx = torch.meshgrid(grid, grid, indexing="ij")
    out = torch.zeros(len(flat), size // cell, size // cell, device=device)
    for k in range(2):
        items = [(i, s.things[k], t, _camera(s, t)) for i, (s, t) in enumerate(flat) if k < len(s.things)]
        if items:
            index = torch.tensor([i for i, _, _, _ in items], device=device)
            numbers = torch.tensor([(*pose(thing, t), *view) for _, thing, t, view in items], device=device)
            px, py, r, angle, alpha, shift_x, shift_y, zoom = (numbers[:, j, None, None] for j in range(8))
            lx, ly = _own(px, py, r, angle, (gx - 0.5) / zoom + 0.5 + shift_x, (gy - 0.5) / zoom + 0.5 + shift_y)
            covers = torch.stack([F.avg_pool2d((0.5 - SDF[shape](lx, ly) * r * size).clamp(0, 1), cell) for shape in shapes])
            out[index] = torch.maximum(out[index], (covers.amax(0) - covers.amin(0)) * alpha)
    return out.view(len(scenes), -1, 1, size // cell, size // cell)


def _own(px, py, r, angle, x, y) -> tuple:
    """Where a point of the picture is in an object's own coordinates, whose unit is its radius."""
    lx, ly = (x - px) / r, (y - py) / r
    cos, sin = angle.cos(), angle.sin()
    return cos * lx + sin * ly, cos * ly - sin * lx


def _draw(out, items, x, y, size, device):
    """Paints one object into each listed frame, shape by shape."""
    by_kind: dict = {}
    for item in items:
        by_kind.setdefault((item[1].shape, item[1].texture), []).append(item)
    for (shape, texture), group in by_kind.items():
        index = torch.tensor([i for i, _, _ in group], device=device)
        poses = torch.tensor([pose(thing, t) for _, thing, t in group], device=device)
        px, py, r, angle, alpha = (poses[:, j, None, None] for j in range(5))
        lx, ly = _own(px, py, r, angle, x[index], y[index])
        distance = SDF[shape](lx, ly)
        cover = ((0.5 - distance * r * size).clamp(0, 1) * alpha)[..., None]
        colour = torch.tensor([thing.rgb for _, thing, _ in group], device=device)[:, None, None]
        if texture != "solid":
            colour = colour * (0.45 + 0.55 * _tint(texture, lx, ly, distance)[..., None])
        out[index] = out[index] * (1 - cover) + colour * cover


def clip_times(frames: int) -> list:
    return [k / (frames - 1) for k in range(frames)] if frames > 1 else [0.5]
