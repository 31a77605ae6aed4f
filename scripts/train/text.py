# SPDX-License-Identifier: Apache-2.0
"""Tokenizer (SentencePiece) and text encoder (T5 encoder layout).

The encoder is warmed up with supervision: heads on its token states name every attribute the caption mentions. The
diffusion model then starts with features in which the attributes are already apart; the heads are dropped.
"""
from __future__ import annotations

import random
from pathlib import Path

import sentencepiece
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from captions import caption
from common import Stage, autocast, log, save_atomically, warm_start
from world import World

PAD, EOS = 0, 1
APART = "|"  # in the tokenizer's training text: no piece holds what stands on both sides of it


def signs_apart(text: str) -> str:
    return "".join(f"{APART}{sign}{APART}" if "\u3400" <= sign <= "\u9fff" else sign for sign in text)


def train_tokenizer(config: dict, world: World, out: Path, device, minutes: float) -> None:
    """Unigram pieces (no byte pieces: transformers' T5Tokenizer reads none), learned from captions of the whole world, not
    only of this size's. Chinese signs stay apart: pieces like the one for "a red circle" would each be rare."""
    if (out / "spiece.model").exists():
        return
    rng = random.Random(config["seed"])
    full = World()
    corpus = out / "captions.txt"
    with corpus.open("w") as file:
        for k in range(40000):
            text, _ = caption(rng, (world if k % 2 else full).sample(rng, split="any"), chinese_share=0.25)
            file.write(signs_apart(text) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(out / "spiece"), model_type="unigram", vocab_size=config["vocab"],
        byte_fallback=False, pad_id=PAD, eos_id=EOS, unk_id=2, bos_id=-1, character_coverage=1.0, num_threads=1,
        normalization_rule_name="nmt_nfkc_cf", hard_vocab_limit=False, minloglevel=2, pretokenization_delimiter=APART)
    log("tokenizer:", Tokenizer(out / "spiece.model").size(), "pieces")


class Tokenizer:
    """Exactly what T5Tokenizer does with padding to a fixed length and truncation."""

    def __init__(self, path: Path, length: int = 32):
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.length = length

    def size(self) -> int:
        return self.pieces.get_piece_size()

    def __call__(self, texts: list) -> torch.Tensor:
        rows = [ids[: self.length - 1] + [EOS] for ids in self.pieces.encode(texts)]
        return torch.tensor([ids + [PAD] * (self.length - len(ids)) for ids in rows])


def build(config: dict, vocabulary: int) -> T5EncoderModel:
    c = config["text"]
    return T5EncoderModel(T5Config(
        vocab_size=vocabulary, d_model=c["d_model"], d_kv=c["d_kv"], num_heads=c["num_heads"], d_ff=c["d_ff"],
        num_layers=c["num_layers"], feed_forward_proj="gated-gelu", dropout_rate=0.0, pad_token_id=PAD,
        eos_token_id=EOS, decoder_start_token_id=PAD, tie_word_embeddings=False))


def encode(encoder: T5EncoderModel, ids: torch.Tensor) -> torch.Tensor:
    """B L D. No attention mask: TextToVideoSDPipeline passes none, so padding is part of the sentence."""
    return encoder(input_ids=ids, attention_mask=torch.ones_like(ids))[0]


class Slots(nn.Module):
    """For each attribute a learned query looks at the token states and names the value, or says it is not mentioned."""

    def __init__(self, encoder: T5EncoderModel, world: World, width: int):
        super().__init__()
        self.encoder = encoder
        self.values = {"shape": world.shapes, "colour": world.colours, "motion": world.motions, "size": world.sizes,
                       "background": world.backgrounds}
        if world.two_objects:
            self.values |= {"shape2": world.shapes, "colour2": world.colours, "relation": world.relations}
        if len(world.textures) > 1:
            self.values["texture"] = world.textures
        if len(world.cameras) > 1:
            self.values["camera"] = world.cameras
        if len(world.speeds) > 1:
            self.values["speed"] = world.speeds
        self.queries = nn.ParameterDict({k: nn.Parameter(torch.randn(width) * 0.1) for k in self.values})
        self.heads = nn.ModuleDict({k: nn.Linear(width, len(v) + 1) for k, v in self.values.items()})

    def forward(self, ids: torch.Tensor) -> dict:
        states = encode(self.encoder, ids)
        out = {}
        for key in self.values:
            weights = (states @ self.queries[key] / states.shape[-1] ** 0.5).softmax(1)
            out[key] = self.heads[key]((weights[..., None] * states).sum(1))
        return out

    def truth(self, scene, keep: dict) -> list:
        first = scene.things[0]
        second = scene.things[1] if len(scene.things) == 2 else None
        said = {"shape": first.shape, "colour": first.colour, "motion": first.motion, "size": first.size,
                "background": scene.background, "texture": first.texture, "camera": scene.camera, "speed": first.speed,
                "relation": scene.relation, "shape2": second and second.shape, "colour2": second and second.colour}
        mentioned = {"relation": second is not None and keep["relation"], "shape2": second is not None and keep["shape"],
                     "colour2": second is not None and keep["colour"],
                     "speed": keep["speed"] and keep["motion"] and keep["relation"] and first.motion != "still"
                     and first.speed != "normal" and scene.relation not in ("apart", "toward", "passing")}
        return [self.values[k].index(said[k]) if mentioned.get(k, keep.get(k, False)) and said[k] in self.values[k]
                else len(self.values[k]) for k in self.values]


def batch_of(world: World, rng: random.Random, tokenizer: Tokenizer, slots: Slots, count: int,
             chinese_share: float = 0.4) -> tuple:
    scenes = [world.sample(rng, split="any") for _ in range(count)]
    said = [caption(rng, s, chinese_share=chinese_share) for s in scenes]
    labels = torch.tensor([slots.truth(s, keep) for s, (_, keep) in zip(scenes, said)])
    return tokenizer([text for text, _ in said]), labels


@torch.no_grad()
def accuracies(world: World, tokenizer: Tokenizer, slots: Slots, chinese_share: float, device, count: int = 1024) -> dict:
    """Share of captions whose value each slot names, on captions of one language."""
    rng, right = random.Random(99), {k: 0.0 for k in slots.values}
    for _ in range(count // 256):
        ids, labels = batch_of(world, rng, tokenizer, slots, 256, chinese_share)
        scores = slots(ids.to(device))
        for j, k in enumerate(slots.values):
            right[k] += float((scores[k].argmax(1).cpu() == labels[:, j]).float().sum()) / (count // 256 * 256)
    return {k: round(v, 4) for k, v in right.items()}


def load(config: dict, out: Path, device) -> tuple:
    """(tokenizer, encoder) as the diffusion stages use them: frozen."""
    tokenizer = Tokenizer(out / "spiece.model", config["tokens"])
    encoder = build(config, tokenizer.size())
    encoder.load_state_dict(torch.load(out / "text-ready.pt", map_location="cpu", weights_only=True))
    return tokenizer, encoder.to(device).eval().requires_grad_(False)


def train(config: dict, world: World, out: Path, device, minutes: float) -> None:
    if (out / "text-ready.pt").exists():
        return
    tokenizer = Tokenizer(out / "spiece.model", config["tokens"])
    encoder = build(config, tokenizer.size())
    warm_start(encoder, out / "text-start.pt")
    slots = Slots(encoder, world, config["text"]["d_model"]).to(device)
    stage = Stage("text", slots, config, out, minutes=minutes)
    rng = random.Random(config["seed"] + 31 * (1 + stage.step))
    for _ in stage.steps():
        ids, labels = batch_of(world, rng, tokenizer, slots, stage.settings["batch"])
        with autocast(device):
            scores = slots(ids.to(device))
        loss = sum(nn.functional.cross_entropy(scores[k].float(), labels[:, j].to(device)) for j, k in enumerate(slots.values))
        stage.backward(loss)
        stage.update()
    stage.ema.swap()
    slots.eval()
    for share, language in ((0.0, "English"), (1.0, "Chinese")):
        log(f"text: {stage.step} steps, {language} slots right", accuracies(world, tokenizer, slots, share, device))
    save_atomically(encoder.state_dict(), out / "text-ready.pt")
