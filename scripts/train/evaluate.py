# SPDX-License-Identifier: Apache-2.0
"""The wide table: stratified prompts through the built `t2v` to MP4, judged by `verify_videos`, as Markdown.

    python evaluate.py --config wide-cpu.json --t2v BUILD/t2v --verify BUILD/tests/verifier/verify_videos \
        --model models/shapes-64 --count 256 --to table.md

Needs only the standard library and the two programs, so it runs where there is no torch. Prompts cover every shape,
colour and motion of the configuration in turn, half of them with a size, half with a background, a third in Chinese;
triples that were never trained and the two languages are reported apart, with Wilson intervals.
"""
from __future__ import annotations

import argparse
import collections
import itertools
import json
import math
import random
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

WORDS = {"left": "moving to the left", "right": "moving to the right", "up": "moving up", "down": "moving down",
         "up-left": "moving up and to the left", "up-right": "moving up and to the right",
         "down-left": "moving down and to the left", "down-right": "moving down and to the right",
         "still": "standing still", "bounce-horizontal": "bouncing left and right",
         "bounce-vertical": "bouncing up and down", "circle-cw": "circling clockwise",
         "circle-ccw": "circling counterclockwise", "rotate-cw": "rotating clockwise",
         "rotate-ccw": "rotating counterclockwise", "grow": "growing", "shrink": "shrinking", "blink": "blinking"}
ZH_SHAPE = {"circle": "圆", "square": "正方形", "triangle": "三角形", "star": "星星", "diamond": "菱形", "ring": "圆环",
            "cross": "十字", "heart": "心形", "hexagon": "六边形", "ellipse": "椭圆"}
ZH_COLOUR = {"red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "cyan": "青色", "blue": "蓝色",
             "purple": "紫色", "pink": "粉色", "brown": "棕色", "white": "白色", "grey": "灰色", "black": "黑色"}
ZH_MOTION = {"left": "向左移动", "right": "向右移动", "up": "向上移动", "down": "向下移动", "up-left": "向左上方移动",
             "up-right": "向右上方移动", "down-left": "向左下方移动", "down-right": "向右下方移动", "still": "静止不动",
             "grow": "变大", "shrink": "缩小", "blink": "闪烁"}

ZH_SIZE = {"small": "小", "medium": "中等大小的", "large": "大"}
ZH_GROUND = {"black": "黑色", "white": "白色", "grey": "灰色", "navy": "深蓝色", "beige": "米色", "light blue": "浅蓝色",
             "dark green": "深绿色", "light pink": "浅粉色"}
UNSEEN = {"black": ("black", "navy", "dark green"), "white": ("white", "beige", "light blue", "light pink"),
          "grey": ("grey",)}  # an object of this colour cannot be told from these backgrounds


def held_out(shape: str, colour: str, motion: str) -> bool:
    """The same triples as world.held_out, which needs torch to be imported."""
    return zlib.crc32(f"{shape}|{colour}|{motion}".encode()) % 10 == 0


def wilson(right: int, count: int) -> tuple:
    """95 % interval of a share."""
    if count == 0:
        return 0.0, 1.0
    z, p = 1.959964, right / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return centre - half, centre + half


def prompts(config: dict, count: int) -> list:
    """[(prompt, held out?)]: all triples in a fixed shuffled order, the held-out ones spread evenly among them."""
    world = {**config["world"], **config.get("denoiser_world", {})}
    triples = list(itertools.product(world["shapes"], world["colours"], world["motions"]))
    rng = random.Random(1)
    rng.shuffle(triples)
    held = [t for t in triples if held_out(*t)]
    seen = [t for t in triples if not held_out(*t)]
    out = []
    for k in range(count):
        source = held if held and k % 4 == 3 else seen
        triple = source[(k // 4 if source is held else k - k // 4) % len(source)]
        out.append((sentence(random.Random(k), world, *triple), source is held))
    return out


def sentence(rng: random.Random, world: dict, shape: str, colour: str, motion: str) -> str:
    """The plain prompt for a triple; what grows or shrinks has all sizes, so none is asked of it."""
    size = rng.choice(world["sizes"]) if len(world["sizes"]) > 1 and rng.random() < 0.5 and motion not in ("grow", "shrink") else ""
    grounds = [b for b in world["backgrounds"] if b not in UNSEEN.get(colour, ())]
    ground = rng.choice(grounds) if rng.random() < 0.5 else ""
    if rng.random() < 1 / 3 and motion in ZH_MOTION:
        text = f"一个{ZH_SIZE.get(size, '')}{ZH_COLOUR[colour]}的{ZH_SHAPE[shape]}{ZH_MOTION[motion]}"
        return f"{ZH_GROUND[ground]}背景上，{text}" if ground else text
    noun = " ".join(word for word in (size, colour, shape) if word)
    text = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun} {WORDS[motion]}"
    return f"{text} on a {ground} background" if ground else text


def generate(t2v: str, model: str, jobs: list, folder: Path, extra: list, threads: int | None) -> None:
    """All prompts through one loaded model; one seed for each, its number in the list."""
    lines = [json.dumps({"prompt": text, "seed": k, "output": str(folder / f"{k:04d}.mp4"), **dict(extra)},
                        ensure_ascii=False) for k, (text, _) in enumerate(jobs)]
    (folder / "jobs.jsonl").write_text("\n".join(lines) + "\n")
    subprocess.run([t2v, "batch", str(folder / "jobs.jsonl"), "--model", model, "--progress", "none", "--overwrite",
                    *(["--threads", str(threads)] if threads else [])], check=True)


def judge(verify: str, jobs: list, folder: Path) -> list:
    listing = "".join(f"{folder / f'{k:04d}.mp4'}\t{text}\n" for k, (text, _) in enumerate(jobs))
    done = subprocess.run([verify, "-"], input=listing, text=True, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(jobs: list, verdicts: list) -> str:
    tallies: dict = collections.defaultdict(lambda: [0, 0])
    for (text, held), verdict in zip(jobs, verdicts):
        met = {**verdict["met"], "all": all(verdict["met"].values())}
        if verdict["wanted"].get("motion") in ("grow", "shrink"):
            met["grow, shrink"] = met["motion"]
        for key, ok in met.items():
            for group in ("held out" if held else "trained", "together", "Chinese" if text[-1] > "\u3000" else "English"):
                tallies[key, group][0] += ok
                tallies[key, group][1] += 1
    rows = ["| attribute | together | trained triples | held-out triples | English | Chinese |", "|---|---|---|---|---|---|"]
    for key in ("colour", "motion", "grow, shrink", "shape", "size", "background", "all"):
        cells = []
        for group in ("together", "trained", "held out", "English", "Chinese"):
            right, count = tallies[key, group]
            low, high = wilson(right, count)
            cells.append(f"{100 * right / count:.1f} % ({100 * low:.1f}–{100 * high:.1f}), {right}/{count}" if count else "–")
        if tallies[key, "together"][1]:
            rows.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("config", "t2v", "verify", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--cfg-scale", type=float)
    parser.add_argument("--sampler")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--to", help="file for the table; standard output when absent")
    parser.add_argument("--keep", help="folder that keeps the videos and verdicts")
    args = parser.parse_args()
    config = json.loads(Path(args.config).read_text())
    jobs = prompts(config, args.count)
    extra = [(k, v) for k, v in (("steps", args.steps), ("cfg-scale", args.cfg_scale), ("sampler", args.sampler)) if v]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.keep or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        generate(args.t2v, args.model, jobs, folder, extra, args.threads)
        verdicts = judge(args.verify, jobs, folder)
        (folder / "verdicts.jsonl").write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in verdicts))
    text = table(jobs, verdicts)
    if args.to:
        Path(args.to).write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
