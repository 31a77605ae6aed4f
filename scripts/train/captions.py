# SPDX-License-Identifier: Apache-2.0
"""Captions of a scene, in English and Chinese: synonyms, word order, left-out attributes, words that mean nothing."""
from __future__ import annotations

import random

from world import Scene, Thing

SHAPE_WORDS = {
    "circle": ["circle", "circle", "ball", "disc", "dot", "disk"], "square": ["square", "square", "box", "block"],
    "triangle": ["triangle"], "star": ["star", "star", "five-pointed star"], "diamond": ["diamond", "rhombus"],
    "ring": ["ring", "ring", "donut", "hoop"], "cross": ["cross", "plus sign"], "heart": ["heart"],
    "hexagon": ["hexagon"], "ellipse": ["ellipse", "oval"],
}
COLOUR_WORDS = {
    "red": ["red", "red", "crimson", "scarlet"], "orange": ["orange"], "yellow": ["yellow", "yellow", "golden"],
    "green": ["green", "green", "emerald"], "cyan": ["cyan", "cyan", "turquoise", "aqua"],
    "blue": ["blue", "blue", "azure"], "purple": ["purple", "purple", "violet"], "pink": ["pink", "pink", "rosy"],
    "brown": ["brown"], "white": ["white"], "grey": ["grey", "gray"], "black": ["black"],
}
SIZE_WORDS = {"small": ["small", "little", "tiny"], "medium": ["medium", "medium-sized", "normal-sized"],
              "large": ["large", "big", "huge"]}
TEXTURE_WORDS = {"solid": ["solid"], "striped": ["striped"], "checkered": ["checkered", "chequered"],
                 "dotted": ["dotted", "spotted"], "outlined": ["outlined"]}
SPEED_WORDS = {"slow": ["slowly"], "normal": ["steadily"], "fast": ["quickly", "fast"]}
VERBS = [("moving", "moves"), ("moving", "moves"), ("going", "goes"), ("flying", "flies"), ("sliding", "slides"),
         ("travelling", "travels"), ("drifting", "drifts"), ("gliding", "glides")]
TO = {
    "left": ["left", "to the left", "leftwards", "leftward", "from right to left", "towards the left"],
    "right": ["right", "to the right", "rightwards", "rightward", "from left to right", "towards the right"],
    "up": ["up", "upwards", "upward", "to the top", "from bottom to top", "towards the top"],
    "down": ["down", "downwards", "downward", "to the bottom", "from top to bottom", "towards the bottom"],
    "up-left": ["up and to the left", "up and left", "to the upper left", "to the top left", "diagonally up left"],
    "up-right": ["up and to the right", "up and right", "to the upper right", "to the top right",
                 "diagonally up right"],
    "down-left": ["down and to the left", "down and left", "to the lower left", "to the bottom left",
                  "diagonally down left"],
    "down-right": ["down and to the right", "down and right", "to the lower right", "to the bottom right",
                   "diagonally down right"],
}
MOTION_WORDS = {  # (gerund, third person)
    "still": [("standing still", "stands still"), ("not moving", "does not move"), ("staying in place", "stays in place"),
              ("at rest", "is at rest")],
    "bounce-horizontal": [("bouncing left and right", "bounces left and right"),
                          ("bouncing horizontally", "bounces horizontally")],
    "bounce-vertical": [("bouncing up and down", "bounces up and down"), ("bouncing vertically", "bounces vertically")],
    "circle-cw": [("circling clockwise", "circles clockwise"), ("orbiting clockwise", "orbits clockwise")],
    "circle-ccw": [("circling counterclockwise", "circles counterclockwise")],
    "rotate-cw": [("rotating clockwise", "rotates clockwise"), ("spinning clockwise", "spins clockwise")],
    "rotate-ccw": [("rotating counterclockwise", "rotates counterclockwise")],
    "grow": [("growing", "grows"), ("getting bigger", "gets bigger")],
    "shrink": [("shrinking", "shrinks"), ("getting smaller", "gets smaller")],
    "blink": [("blinking", "blinks"), ("fading in and out", "fades in and out")],
}
RELATION_WORDS = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below",
                  "behind": "behind", "apart": "moving away from", "toward": "moving toward", "passing": "passing"}
CAMERA_WORDS = {"pan-left": "the camera pans left", "pan-right": "the camera pans right", "pan-up": "the camera pans up",
                "pan-down": "the camera pans down", "zoom-in": "the camera zooms in", "zoom-out": "the camera zooms out"}
KIND_WORDS = {"gradient": "gradient", "grid": "grid", "stars": "starry", "noise": "noisy"}

ZH_SHAPE = {"circle": ["圆", "圆形", "圆球", "球"], "square": ["方块", "正方形"], "triangle": ["三角形"], "star": ["星星", "五角星", "星形"],
            "diamond": ["菱形"], "ring": ["圆环", "环"], "cross": ["十字", "十字形"], "heart": ["心形", "爱心", "心"], "hexagon": ["六边形"],
            "ellipse": ["椭圆", "椭圆形"]}
ZH_COLOUR = {"red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "cyan": "青色", "blue": "蓝色",
             "purple": "紫色", "pink": "粉色", "brown": "棕色", "white": "白色", "grey": "灰色", "black": "黑色"}
ZH_SIZE = {"small": "小", "medium": "中等大小的", "large": "大"}
ZH_TEXTURE = {"solid": "纯色", "striped": "条纹", "checkered": "格子", "dotted": "圆点", "outlined": "描边"}
ZH_MOTION = {
    "still": ["静止不动", "停在原地"], "left": ["向左移动", "从右向左移动", "往左移动"],
    "right": ["向右移动", "从左向右移动", "往右移动"], "up": ["向上移动", "从下往上移动", "往上移动"],
    "down": ["向下移动", "从上往下移动", "往下移动"], "up-left": ["向左上方移动", "往左上移动"],
    "up-right": ["向右上方移动", "往右上移动"], "down-left": ["向左下方移动", "往左下移动"],
    "down-right": ["向右下方移动", "往右下移动"], "bounce-horizontal": ["左右弹跳"], "bounce-vertical": ["上下弹跳"],
    "circle-cw": ["顺时针绕圈"], "circle-ccw": ["逆时针绕圈"], "rotate-cw": ["顺时针旋转"], "rotate-ccw": ["逆时针旋转"],
    "grow": ["变大", "逐渐变大"], "shrink": ["缩小", "变小"], "blink": ["闪烁"],
}
ZH_BACKGROUND = {"black": "黑色", "white": "白色", "grey": "灰色", "navy": "深蓝色", "beige": "米色", "light blue": "浅蓝色",
                 "dark green": "深绿色", "light pink": "浅粉色"}
PREFIXES = ["a video of ", "an animation of ", "footage of ", "video: ", "a short clip of ", "show me ", "please draw ",
            "a simple animation showing "]
FILLERS = ("beautiful cinematic lovely quiet morning with style detailed quality smooth modern clean sharp happy river "
           "city dream music garden winter about very really some nice good tasty future light paper tiny-bit shiny "
           "matte soft strange glossy ancient robot table window forest").split()
SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe qui ra so ti vu wa xe yo zan mer tol pin sud".split()


def _direction(rng: random.Random, motion: str) -> tuple:
    gerund, verb = rng.choice(VERBS)
    to = rng.choice(TO[motion])
    return f"{gerund} {to}", f"{verb} {to}"


def _motion(rng: random.Random, thing: Thing, keep_speed: float) -> tuple:
    pair = _direction(rng, thing.motion) if thing.motion in TO else rng.choice(MOTION_WORDS[thing.motion])
    if thing.speed != "normal" and thing.motion != "still" and rng.random() < keep_speed:
        word = rng.choice(SPEED_WORDS[thing.speed])
        pair = tuple(f"{p} {word}" for p in pair)
    return pair


def _noun(rng: random.Random, thing: Thing, keep: dict) -> str:
    shape = rng.choice(SHAPE_WORDS[thing.shape]) if keep["shape"] else rng.choice(["object", "shape", "thing"])
    adjectives = []
    if keep["size"]:
        adjectives.append(rng.choice(SIZE_WORDS[thing.size]))
    if keep["texture"] and thing.texture != "solid":
        adjectives.append(rng.choice(TEXTURE_WORDS[thing.texture]))
    colour = rng.choice(COLOUR_WORDS[thing.colour]) if keep["colour"] else ""
    form = rng.random()
    if colour and form < 0.12:
        phrase = " ".join([*adjectives, shape, rng.choice(["that is", "which is", "coloured", "in"]), colour])
    else:
        phrase = " ".join([*adjectives, *([colour] if colour else []), shape])
    article = rng.choice(["a", "a", "a", "the", "one", ""])
    if article == "a" and phrase[0] in "aeiou":
        article = "an"
    return f"{article} {phrase}".strip()


def _keeps(rng: random.Random, scene: Scene, zh: bool) -> dict:
    """Which attributes are said. Small objects are mostly called small, so that one of no said size is mostly large; grey
    backgrounds are mostly called grey, the word that is learned last (see diffusion.noisy_times); Chinese says most of them,
    because on a background is 背景上, with the sign for up."""
    first = scene.things[0]
    size = {"small": 0.9, "medium": 0.7, "large": 0.35}[first.size] * (0.5 if first.motion in ("grow", "shrink") else 1)
    keep = {"shape": 0.88, "colour": 0.92, "motion": 0.9, "size": size, "texture": 0.9,
            "background": 0.9 if scene.background == "grey" else 0.8 if zh else 0.5,
            "camera": 0.9, "speed": 0.9}
    keep = {k: rng.random() < p for k, p in keep.items()}
    if not (keep["shape"] or keep["colour"] or keep["motion"]):
        keep["colour"] = True
    return keep


def english(rng: random.Random, scene: Scene, keep: dict) -> str:
    first = scene.things[0]
    gerund, verb = _motion(rng, first, keep["speed"])
    subject = _noun(rng, first, keep)
    if len(scene.things) == 2:
        relation = RELATION_WORDS[scene.relation]
        subject = f"{subject} {relation} {_noun(rng, scene.things[1], keep)}"
        keep = {**keep, "motion": keep["motion"] and scene.relation not in ("apart", "toward", "passing")}
    body = subject
    if keep["motion"]:
        body = rng.choice([f"{subject} {gerund}", f"{subject} {gerund}", f"{subject} {verb}", f"{subject} is {gerund}"
                           if gerund != "at rest" else f"{subject} at rest", f"{gerund}, {subject}",
                           f"{subject} that {verb}"])
    if keep["background"]:
        kind = KIND_WORDS.get(scene.background_kind, "")
        ground = " ".join(w for w in (scene.background, kind, "background") if w)
        body = rng.choice([f"{body} on a {ground}", f"{body} on a {ground}", f"{body}, {ground}",
                           f"{body} against a {ground}", f"on a {ground}, {body}"])
    if keep["camera"] and scene.camera != "static":
        body += ", " + CAMERA_WORDS[scene.camera]
    if rng.random() < 0.25:
        body = rng.choice(PREFIXES) + body
    return body


def chinese(rng: random.Random, scene: Scene, keep: dict) -> str:
    def noun(thing):
        size = ZH_SIZE[thing.size] if keep["size"] else ""
        texture = ZH_TEXTURE[thing.texture] if keep["texture"] and thing.texture != "solid" else ""
        colour = ZH_COLOUR[thing.colour]
        colour = rng.choice([colour + "的", colour + "的", colour, colour[0]]) if keep["colour"] else ""
        shape = rng.choice(ZH_SHAPE[thing.shape]) if keep["shape"] else rng.choice(["物体", "图形"])
        return rng.choice(["一个", "一个", "一颗", ""]) + size + texture + colour + shape
    body = noun(scene.things[0])
    if len(scene.things) == 2:
        body += rng.choice(["和", "与"]) + noun(scene.things[1])
    if keep["motion"]:
        body += rng.choice(["", "在", "正在"]) + rng.choice(ZH_MOTION[scene.things[0].motion])
    if keep["background"]:
        ground = ZH_BACKGROUND[scene.background] + "背景"
        body = rng.choice([f"{ground}上，{body}", f"{ground}上，{body}", f"{body}，{ground}", f"在{ground}上{body}"])
    return body


def _noise(rng: random.Random, text: str) -> str:
    """Words without meaning, other case and punctuation, a typing error: none of them changes the clip."""
    if rng.random() < 0.10:
        words = text.split(" ")
        for _ in range(rng.randint(1, 3)):
            nonsense = rng.choice(FILLERS) if rng.random() < 0.6 else "".join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))
            words.insert(rng.choice([0, len(words)]), nonsense)
        text = " ".join(words)
    if rng.random() < 0.3:
        text = text[:1].upper() + text[1:]
    elif rng.random() < 0.03:
        text = text.upper()
    if rng.random() < 0.3:
        text += rng.choice([".", "!", "。" if ord(text[-1]) > 255 else "."])
    if rng.random() < 0.02 and len(text) > 12:
        k = rng.randrange(len(text))
        text = text[:k] + text[k + 1:]
    return text


def caption(rng: random.Random, scene: Scene, *, chinese_share: float = 0.6) -> tuple:
    """(text, which attributes it mentions)."""
    zh = rng.random() < chinese_share
    keep = {**_keeps(rng, scene, zh), "relation": not zh}
    keep["camera"] &= not zh
    text = (chinese if zh else english)(rng, scene, keep)
    return _noise(rng, text), keep


def plain_prompt(thing: Thing, background: str | None = None, chinese: bool = False, size: bool = False) -> str:
    """The caption a user would write first; used by looks."""
    if chinese:
        text = "一个" + (ZH_SIZE[thing.size] if size else "") + ZH_COLOUR[thing.colour] + "的" + ZH_SHAPE[thing.shape][0] \
            + ZH_MOTION[thing.motion][0]
        return f"{ZH_BACKGROUND[background]}背景上，{text}" if background else text
    to = {"still": "standing still"}.get(thing.motion)
    if to is None:
        to = "moving " + TO[thing.motion][1 if "-" not in thing.motion and thing.motion in ("left", "right") else 0] \
            if thing.motion in TO else MOTION_WORDS[thing.motion][0][0]
    text = f"a {thing.size + ' ' if size else ''}{thing.colour} {thing.shape} {to}"
    return f"{text} on a {background} background" if background else text


# Words that a prompt may hold without asking for anything that has to be seen.
IGNORED = ("a an the one of in on at to from with and is are was be it its that which this there by against for towards "
           "toward over across into out away along through while as does do not only just very really some nice good best "
           "high video animation animated animate movie footage film clip gif short show shows showing me my please draw "
           "make create generate render simple smooth smoothly slowly steadily background backdrop coloured colored colour "
           "color move object shape thing scene picture image screen frame place side direction way sign shaped sized beautiful "
           "lovely cinematic quality detailed clean sharp plain solid flat bright vivid gently then straight").split()
IGNORED_ZH = "一 个 只 枚 这 那 一个 一颗 颗 的 在 正在 和 与 上 里 中 从 向 往 着 地 背景 移动 运动 物体 图形 视频 动画 方 形 色 大小 画 请 生成".split()


def vocabulary(world) -> tuple:
    """(words that change the video, words that may stand in any prompt): what the program holds prompts against."""
    known: set = set()
    english = [SHAPE_WORDS[s] for s in world.shapes] + [COLOUR_WORDS[c] for c in world.colours]
    english += [[b, b.replace("grey", "gray")] for b in world.backgrounds] + [SIZE_WORDS[s] for s in world.sizes]
    english += [TEXTURE_WORDS[t] for t in world.textures] if len(world.textures) > 1 else []
    for motion in world.motions:
        english.append(TO[motion] if motion in TO else [form for pair in MOTION_WORDS[motion] for form in pair])
    for words, table in ((world.speeds, SPEED_WORDS), (world.background_kinds, KIND_WORDS), (world.cameras, CAMERA_WORDS)):
        english += [[table[w]] if isinstance(table[w], str) else table[w] for w in words if w in table and len(words) > 1]
    english += [[RELATION_WORDS[r]] for r in world.relations] if world.two_objects else []
    for texts in english:
        for text in texts:
            known.update(text.replace("-", " ").split())
    ignored = {*IGNORED, *(word for pair in VERBS for word in pair)}
    chinese = [ZH_COLOUR[c] for c in world.colours] + [ZH_BACKGROUND[b] for b in world.backgrounds]
    chinese += [word for shape in world.shapes for word in ZH_SHAPE[shape]] + [ZH_SIZE[s] for s in world.sizes]
    chinese += [ZH_TEXTURE[t] for t in world.textures] if len(world.textures) > 1 else []
    chinese += [word for motion in world.motions for word in ZH_MOTION[motion]]
    chinese += [word[0] for word in chinese if word.endswith("色")] + ["左", "右", "上", "下", "静止", "不动"]
    return sorted(known - ignored) + sorted(set(chinese)), sorted(ignored) + IGNORED_ZH
