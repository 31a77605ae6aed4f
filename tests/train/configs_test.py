#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every configuration of scripts/train holds what its stages read, and every embedded model is the one its card names.

What is read, and which words the world has, comes from the trainer's source, so torch is not needed.
Usage: configs_test.py SOURCE_TREE [CONFIG.json ...]
"""
import ast
import copy
import functools
import hashlib
import itertools
import json
import math
import pathlib
import re
import sys
import zlib

ROOT = pathlib.Path(sys.argv[1])
TRAIN = ROOT / "scripts" / "train"
TREES = {file.stem: ast.parse(file.read_text()) for file in TRAIN.glob("*.py")}
EVERY = ("common.Stage", "muon.optimizer_for")
READERS = {"vae": ("vae.train",), "text": ("text.train",), "align": ("align.train",), "decoder": ("vae.train_decoder",),
           "image": ("diffusion._train", "diffusion.Pool"), "video": ("diffusion._train", "diffusion.Pool"),
           "distill": ("distill.train", "diffusion.Pool")}
NEEDS = {"align": ("text",), "image": ("text",), "video": ("image",), "distill": ("video",)}


# ------------------------------------------------------------------------------------------- what the source says

@functools.lru_cache(None)
def find(path):
    """A module, or a class or function of it: "diffusion", "diffusion.Pool"."""
    module, _, name = path.partition(".")
    return next(n for n in TREES[module].body if getattr(n, "name", None) == name) if name else TREES[module]


def called(node):
    """The last name of an expression: settings, stage.settings and self.settings are all "settings"."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def word(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@functools.lru_cache(None)
def reads(tree, variable):
    """(keys that have to be there, keys that may be) of a dictionary of that name; one that is asked for by get may be."""
    must, may = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and called(node.value) == variable and word(node.slice):
            must.add(word(node.slice))
        if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
                and called(node.func.value) == variable and node.args and word(node.args[0])):
            may.add(word(node.args[0]))
    return must - may, may


def reads_of_any_stage():
    """The keys in config["stages"][…]["key"], by stage; None stands for every stage."""
    out = {}
    for node in itertools.chain(*(ast.walk(tree) for tree in TREES.values())):
        if (isinstance(node, ast.Subscript) and word(node.slice) and isinstance(node.value, ast.Subscript)
                and isinstance(node.value.value, ast.Subscript) and word(node.value.value.slice) == "stages"):
            out.setdefault(word(node.value.slice), set()).add(word(node.slice))
    return out


def constants(module, functions=()):
    """The tables that a module defines, and those functions that need nothing but them."""
    names = {"math": math, "zlib": zlib, "hashlib": hashlib, "Path": pathlib.Path}
    for node in TREES[module].body:
        if isinstance(node, ast.Assign) or getattr(node, "name", None) in functions:
            try:
                exec(compile(ast.Module([node], []), module, "exec"), names)
            except (NameError, AttributeError):
                pass  # made of what has not been imported here
    return names


WORLD = constants("world", ("held_out", "visible"))
FIELDS = {node.target.id: node.value for node in find("world.World").body if isinstance(node, ast.AnnAssign)}
LISTS = {"shapes": "SHAPES", "colours": "COLOURS", "backgrounds": "BACKGROUNDS", "background_kinds": "BACKGROUND_KINDS",
         "sizes": "SIZES", "textures": "TEXTURES", "motions": "MOTIONS", "speeds": "SPEEDS", "cameras": "CAMERAS",
         "relations": "RELATIONS"}
WEIGHTS = {field[:-8] + "s": field for field in FIELDS if field.endswith("_weights")}
ORDER = constants("train")["ORDER"]
OF_ANY_STAGE = reads_of_any_stage()


# ------------------------------------------------------------------------------------------------------- the rules

def number(low, high):
    return lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= high


def count(v):
    return isinstance(v, int) and not isinstance(v, bool) and v > 0


SETTING = {
    "minutes": number(1e-9, 1e6), "lr": number(1e-9, 1), "clip": number(0, 1e6), "look": number(0, 1e6),
    "guidance": number(1, 20), "shape_weight": number(0, 1000), "muon": lambda v: isinstance(v, bool), "windows": lambda v: True,
    **dict.fromkeys(("hold", "ema", "noise", "floor", "beta2"), number(0, 1)),
    **dict.fromkeys(("warmup", "batch", "frames", "clips", "pool", "grow", "steps", "substeps", "capacity", "prompts"),
                    count)}


def windows_of(settings, frames):
    before, rows = 0.0, settings["windows"]
    if not isinstance(rows, list) or not rows:
        yield "windows is no list of [until, [frames, …], centre]"
        return
    for row in rows:
        if not (isinstance(row, list) and len(row) == 3 and number(0, 1)(row[0]) and isinstance(row[1], list) and row[1]
                and all(map(count, row[1])) and number(-10, 10)(row[2])):
            yield f"windows: {row} is not [until, [frames, …], centre]"
            continue
        if row[0] <= before:
            yield f"windows: until {row[0]} does not come after {before}"
        before = row[0]
        for window in row[1]:
            if window > frames:
                yield f"windows: {window} frames of clips that have {frames}"
            if count(settings.get("frames")) and settings["frames"] % window:
                yield f"windows: {window} does not divide the {settings['frames']} frames of a step"
    if before != 1:
        yield f"windows: the last ends at {before}, not at 1"


def stage_faults(config, name):
    settings = config["stages"][name]
    must, may = set(OF_ANY_STAGE.get(None, ())) | OF_ANY_STAGE.get(name, set()), set()
    for path in (*EVERY, *READERS[name]):
        needed, allowed = reads(find(path), "settings")
        must, may = must | needed, may | allowed
    yield from (f"lacks {key}" for key in sorted(must - settings.keys()))
    for key, value in settings.items():
        if key not in must | may:
            yield f"{key} is read by nobody"
        elif key not in SETTING:
            yield f"this test has no rule for {key}"
        elif not SETTING[key](value):
            yield f"{key} cannot be {value}"
    if "windows" in settings and "windows" in must:
        yield from windows_of(settings, config["frames"])
    yield from (f"needs the stage {other}" for other in NEEDS.get(name, ()) if other not in config["stages"])
    if name in ("image", "video", "distill") and "look" in settings:
        world = world_of(config, "denoiser_world")
        triples = itertools.product(*(world[k] for k in ("shapes", "colours", "motions")))
        if sum(not WORLD["held_out"](*t) for t in triples) < settings.get("prompts", 60):
            yield "look: the world has too few triples for its prompts"


def world_of(config, part=None):
    """The words of a world, those that are not given included."""
    given = {**config["world"], **(config.get(part, {}) if part else {})}
    return {**{field: list(WORLD[table]) for field, table in LISTS.items()}, **given}


def world_faults(config, part):
    for key, value in config.get(part, {}).items():
        if key not in FIELDS:
            yield f"{key} is nothing that World has"
        elif key in LISTS:
            if not isinstance(value, list) or not value and key != "relations":
                yield f"{key} is no list of words"
            else:
                yield from (f"{key}: world.py has no {w!r}" for w in value if w not in WORLD[LISTS[key]])
                if len(set(value)) < len(value):
                    yield f"{key}: a word stands twice"
        elif key in WEIGHTS.values():
            if not isinstance(value, list) or not all(map(number(0, 1000), value)) or not sum(value):
                yield f"{key} is no list of weights"
        elif isinstance(FIELDS[key], ast.Constant):
            if isinstance(FIELDS[key].value, bool) != isinstance(value, bool) or not number(0, 1)(float(value)):
                yield f"{key} cannot be {value}"
    world = world_of(config, part)
    for words, weights in WEIGHTS.items():
        if weights in world and len(world[weights]) != len(world[words]):
            yield f"{len(world[weights])} {weights} for {len(world[words])} {words}"
    if world.get("two_objects", FIELDS["two_objects"].value) and not world["relations"]:
        yield "two objects, and no relations"
    for colour in set(world["colours"]) & WORLD["COLOURS"].keys():
        if not any(WORLD["visible"](colour, b) for b in set(world["backgrounds"]) & WORLD["BACKGROUNDS"].keys()):
            yield f"{colour} can be seen on no background"


def network_faults(config):
    for name, module in (("vae", "vae.build"), ("text", "text.build")):
        yield from (f"{name}: lacks {key}" for key in sorted(reads(find(module), "c")[0] - config[name].keys()))
    unet, channels = config["unet"], config["unet"]["block_out_channels"]
    needed = {"block_out_channels", "layers_per_block", "norm_num_groups", "attention_head_dim", "down_block_types",
              "up_block_types"}
    if unet.keys() != needed:
        yield f"unet: has {sorted(unet)}, not {sorted(needed)}"
        return
    for side in ("down", "up"):
        types = unet[f"{side}_block_types"]
        if len(types) != len(channels):
            yield f"unet: {len(types)} {side}_block_types for {len(channels)} block_out_channels"
        kinds = {f"{side.capitalize()}Block3D", f"CrossAttn{side.capitalize()}Block3D"}
        yield from (f"unet: no {side} block is a {t}" for t in types if t not in kinds)
    for width in channels:
        if width % unet["attention_head_dim"]:
            yield f"unet: {unet['attention_head_dim']} heads do not divide {width} channels"
        if width % unet["norm_num_groups"]:
            yield f"unet: {unet['norm_num_groups']} groups do not divide {width} channels"
    for width in config["vae"]["block_out_channels"]:
        if width % config["vae"]["norm_num_groups"]:
            yield f"vae: {config['vae']['norm_num_groups']} groups do not divide {width} channels"
    if len(config["vae"]["block_out_channels"]) != 4:
        yield "vae: a cell is 8×8 pixels, so it has 4 blocks"
    if config["size"] % (8 << (len(channels) - 1)):
        yield f"unet: {config['size']} pixels cannot be halved {len(channels) - 1} times in cells of 8"


def own_faults(config):
    """What t2v reads, and what evaluate.py does."""
    own, size = config["t2v"], config["size"]
    wanted = {"width": size, "height": size, "frames": config["frames"], "fps": config["fps"]}
    yield from (f"{k} is {own.get(k)}, not {v}" for k, v in wanted.items() if own.get(k) != v)
    if not count(own.get("steps")) or not number(1, 20)(own.get("cfg_scale")) or not count(own.get("display_scale")):
        yield "steps, cfg_scale or display_scale is missing or odd"
    if not own.get("vocabulary_note"):
        yield "vocabulary_note is missing"
    needed = set().union(*(reads(find(f"evaluate.{name}"), "world")[0] for name in ("prompts", "sentence")))
    have = {**config["world"], **config.get("denoiser_world", {})}
    yield from (f"evaluate.py needs the {key} of the world to be spelled out" for key in sorted(needed - have.keys()))


def faults(config):
    required = set().union(*(reads(tree, "config")[0] for tree in TREES.values())) | {"name", "fps"}
    missing = sorted(required - config.keys())
    if missing:
        return [f"lacks {', '.join(missing)}"]
    out = []
    designed = config.get("latents") == "thumbnails"
    if "latents" in config and not designed:
        out.append(f"latents: {config['latents']} is no kind of latents")
    if designed and config.get("latent_channels", 4) not in (4, 7):
        out.append("latent_channels: a thumbnail has 4 or 7")
    if ("decoder" if designed else "vae") not in config["stages"]:
        out.append(f"stages: {'designed' if designed else 'learned'} latents need {'decoder' if designed else 'vae'}")
    for name in config["stages"]:
        if name in READERS and name in ORDER:
            out += [f"{name}: {fault}" for fault in stage_faults(config, name)]
        else:
            out.append(f"{name} is no stage")
    for part in ("world", "denoiser_world", "decoder_world"):
        out += [f"{part}: {fault}" for fault in world_faults(config, part)]
    out += network_faults(config)
    out += [f"t2v: {fault}" for fault in own_faults(config)]
    return out


# --------------------------------------------------------------------------- faults planted in a sound configuration

def change(path, value):
    def planted(config):
        *way, last = path
        for key in way:
            config = config[key]
        if value is None:
            del config[last]
        else:
            config[last] = value
    return planted


PLANTED = [
    (change(("stages", "video", "windows"), [8, 16]), "8 is not [until"),
    (change(("stages", "video", "windows"), None), "video: lacks windows"),
    (change(("stages", "video", "windows"), [[0.6, [4], 0.5], [0.4, [8], 0.5], [1.0, [16], 0.5]]), "0.4 does not come after"),
    (change(("stages", "video", "windows"), [[0.9, [4], 0.5]]), "the last ends at 0.9"),
    (change(("stages", "video", "frames"), 100), "does not divide the 100 frames"),
    (change(("stages", "video", "windows"), [[1.0, [32], 0.5]]), "32 frames of clips that have 16"),
    (change(("stages", "image", "batch"), 512), "image: batch is read by nobody"),
    (change(("stages", "text", "minutes"), None), "text: lacks minutes"),
    (change(("stages", "movie"), {"minutes": 1}), "movie is no stage"),
    (change(("stages", "text"), None), "needs the stage text"),
    (change(("denoiser_world", "shapes"), ["circle", "blob"]), "world.py has no 'blob'"),
    (change(("denoiser_world", "motion_weights"), [1, 2]), "2 motion_weights"),
    (change(("world", "cats"), 3), "cats is nothing"),
    (change(("unet", "attention_head_dim"), 5), "5 heads do not divide"),
    (change(("unet", "up_block_types"), ["UpBlock3D"]), "1 up_block_types for 3"),
    (change(("t2v", "width"), 32), "width is 32, not 64"),
    (change(("world",), {}), "evaluate.py needs the backgrounds"),
]


def card_faults(folder):
    """The content hash that a model's card names, made again as export.py makes it."""
    named = re.search(r"`([0-9a-f]{64})`", (folder / "README.md").read_text())
    if not named:
        return ["the card names no SHA-256"]
    real = constants("export", ("content_hash",))["content_hash"](folder)
    return [] if real == named[1] else [f"the card names {named[1]}, the files are {real}"]


def main():
    files = [pathlib.Path(p) for p in sys.argv[2:]] or sorted(TRAIN.glob("*.json"))
    report = [f"{file.name}: {fault}" for file in files for fault in faults(json.loads(file.read_text()))]
    sound = json.loads((TRAIN / "wide-cpu.json").read_text())
    for planted, message in PLANTED:
        config = copy.deepcopy(sound)
        planted(config)
        if not any(message in fault for fault in faults(config)):
            report.append(f"a planted fault was not found: {message}")
    models = [index.parent for index in sorted((ROOT / "models").glob("*/model_index.json"))]
    report += [f"{folder.name}: {fault}" for folder in models for fault in card_faults(folder)]
    if not models or not files:
        report.append("no model or no configuration")
    print("\n".join(report) or f"{len(files)} configurations, {len(PLANTED)} planted faults, {len(models)} models")
    return 1 if report else 0


if __name__ == "__main__":
    sys.exit(main())
