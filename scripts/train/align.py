# SPDX-License-Identifier: Apache-2.0
"""Puts right what Chinese signs of two meanings do to a UNet: the text encoder learns to say the same for paraphrases.

"On a background" is 背景上, with the sign of 向上 (up). Heads that read the whole sentence are not misled, but a UNet looks at
single states and went up too. Here the states of such a sentence become those of the sentence without the sign, and the
states of 左上 (up left) those of the English words; all other sentences keep theirs, so a UNet trained on the encoder as
it was goes on working.
"""
from __future__ import annotations

import copy
import random
from pathlib import Path

import torch

import text
from captions import ZH_MOTION, caption
from common import Stage, autocast, log, save_atomically
from world import DIRECTIONS, World

UP_LEFT = tuple(ZH_MOTION["up-left"])
WORDS = {"向": "moving", "往": "moving", "左": "left", "上": "up", "方": "and", "移": "to", "动": "the"}


def without_sign(sentence: str) -> str:
    """The same sentence whose background is named without 上."""
    sentence = sentence.replace("背景上，", "背景，").replace("背景上", "背景，")
    return sentence.replace("在", "", 1) if sentence.startswith("在") else sentence


def matches(ids: list, simpler: list) -> list:
    """For each token of a sentence the place in its simpler twin where its state is taken from."""
    out, j = [], 0
    for k, token in enumerate(ids):
        out.append(min(j, len(simpler) - 1))
        if token == simpler[out[-1]] or k + 1 < len(ids) and ids[k + 1] != simpler[out[-1]]:
            j += 1
    return out


def ending(pieces: list, word: str) -> int:
    """In which piece a word ends, however the tokenizer has cut the sentence."""
    said = "".join(pieces[: pieces.index("</s>")]) + "▁"
    last = said.index(f"▁{word}▁") + len(word)
    return next(k for k in range(len(pieces)) if last < sum(map(len, pieces[: k + 1])))


class Targets:
    """The states wanted of a batch of sentences, from the encoder as it was."""

    def __init__(self, encoder, tokenizer: text.Tokenizer, device):
        self.encoder, self.tokenizer, self.device = encoder, tokenizer, device

    def pieces(self, ids: list) -> list:
        return [self.tokenizer.pieces.id_to_piece(k) for k in ids]

    @torch.no_grad()
    def __call__(self, said: list, scenes: list) -> tuple:
        ids = self.tokenizer(said)
        twins = self.tokenizer([without_sign(s) if "背景上" in s else s for s in said])
        english = self.tokenizer([f"a {s.things[0].size} {s.things[0].colour} {s.things[0].shape} moving up and to the left"
                                  for s in scenes])
        states, foreign = (text.encode(self.encoder, part.to(self.device)) for part in (twins, english))
        goal = torch.stack([row[matches(a, b)] for row, a, b in zip(states, ids.tolist(), twins.tolist())])
        for k, sentence in enumerate(said):
            if any(phrase in sentence for phrase in UP_LEFT):
                self.translate(goal[k], self.pieces(ids[k].tolist()), foreign[k], self.pieces(english[k].tolist()))
        return ids, goal

    @staticmethod
    def translate(goal, pieces: list, foreign, words: list) -> None:
        """The signs of the motion, and they alone, take the states of the English words."""
        found = [k for k in range(1, len(pieces) - 1) if pieces[k] == "左" and pieces[k + 1] == "上"]
        if not found:  # cut off, or lost to a typing error
            return
        for at in range(found[0] - 1, len(pieces)):
            if pieces[at] not in WORDS:
                break
            goal[at] = foreign[ending(words, WORDS[pieces[at]])]


def sentences(world: World, rng: random.Random, count: int) -> tuple:
    """Captions, most of them Chinese; every fourth of them goes up left."""
    scenes = [world.sample(rng, split="any") for _ in range(count)]
    for scene in scenes[::4]:
        if scene.things[0].motion in DIRECTIONS:
            scene.things[0].motion = "up-left"
    return [caption(rng, s, chinese_share=0.75)[0] for s in scenes], scenes


def train(config: dict, world: World, out: Path, device, minutes: float) -> None:
    ready = out / "align-ready.pt"
    if ready.exists():
        return
    tokenizer, encoder = text.load(config, out, device)
    targets = Targets(copy.deepcopy(encoder), tokenizer, device)
    encoder.train().requires_grad_(True)
    stage = Stage("align", encoder, config, out, minutes=minutes)
    world = World.from_config({**config["world"], **config.get("denoiser_world", {})})
    rng = random.Random(config["seed"] + 53 * (1 + stage.step))
    for _ in stage.steps():
        said, scenes = sentences(world, rng, stage.settings["batch"])
        with autocast(device):
            ids, goal = targets(said, scenes)
            states = text.encode(encoder, ids.to(device))
        stage.backward((states.float() - goal.float()).square().mean())
        stage.update()
    stage.ema.swap()
    save_atomically(encoder.state_dict(), out / "text-ready.pt")
    save_atomically(encoder.state_dict(), ready)  # last: a kill between the two leaves the stage to be ended again
    log(f"align: {stage.step} steps")
