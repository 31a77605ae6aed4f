# SPDX-License-Identifier: Apache-2.0
"""The denoiser: diffusers' UNet3DConditionModel on latents, first on single frames, then on frames and clips together.

v-prediction with zero terminal signal-to-noise ratio (arXiv 2305.08891), captions dropped for guidance. Clips are drawn
and encoded once into a pool and used a few times, since encoding would cost as much as a step.
"""
from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet3DConditionModel

import text
import vae
from captions import caption
from common import Stage, autocast, log
from latents import Thumbnails
from world import World, clip_times, render


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False,
        set_alpha_to_one=True)


def build(config: dict) -> UNet3DConditionModel:
    c = dict(config["unet"])
    model = UNet3DConditionModel(
        sample_size=config["size"] // 8, cross_attention_dim=config["text"]["d_model"],
        **{k: tuple(v) if isinstance(v, list) else v for k, v in c.items()})
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the stream of clips never repeats: nothing to regularise
    return model


class Pool:
    """Encoded clips with their captions' states; every call of `grow` replaces the oldest once it is full."""

    def __init__(self, config: dict, world: World, out: Path, device, seed: int, capacity: int):
        self.config, self.world, self.device = config, world, device
        self.rng = random.Random(seed)
        self.tokenizer, self.encoder = text.load(config, out, device)
        designed = config.get("latents") == "thumbnails"
        self.thumbnails = Thumbnails(World.from_config(config["world"]), config["size"], device) if designed else None
        self.vae = None if designed else vae.load(config, out, device)
        self.latents, self.states, self.capacity, self.next = [], [], capacity, 0

    @torch.no_grad()
    def null(self) -> torch.Tensor:
        return text.encode(self.encoder, self.tokenizer([""]).to(self.device))[0]

    @torch.no_grad()
    def grow(self, clips: int) -> None:
        frames = self.config["frames"]
        scenes = [self.world.sample(self.rng) for _ in range(clips)]
        with autocast(self.device):
            z = self._encode(scenes, clip_times(frames)).unflatten(0, (clips, frames))
            ids = self.tokenizer([caption(self.rng, s)[0] for s in scenes]).to(self.device)
            states = text.encode(self.encoder, ids).float()
        for latent, state in zip(z.transpose(1, 2), states):  # C F H W
            if len(self.latents) < self.capacity:
                self.latents.append(latent)
                self.states.append(state)
            else:
                self.latents[self.next], self.states[self.next] = latent, state
                self.next = (self.next + 1) % self.capacity

    def _encode(self, scenes: list, times: list) -> torch.Tensor:
        if self.thumbnails:
            return self.thumbnails(scenes, [times] * len(scenes))[1]
        video = render(scenes, [times] * len(scenes), self.config["size"], self.device) * 2 - 1
        return self.vae.encode(video.flatten(0, 1)).latent_dist.mode().float()

    def batch(self, count: int, window: int) -> tuple:
        """`count` windows of consecutive frames: latents B C F H W and caption states B L D."""
        picks = [self.rng.randrange(len(self.latents)) for _ in range(count)]
        starts = [self.rng.randint(0, self.config["frames"] - window) for _ in picks]
        x = torch.stack([self.latents[i][:, s: s + window] for i, s in zip(picks, starts)])
        return x, torch.stack([self.states[i] for i in picks])


def noisy_times(count: int, centre: float, device) -> torch.Tensor:
    """Timesteps: logit-normal, shifted to more noise for clips (their frames repeat each other); some exactly last."""
    t = (torch.sigmoid(torch.randn(count, device=device) * 1.1 + centre) * 1000).long().clamp(0, 999)
    return torch.where(torch.rand(count, device=device) < 0.06, torch.full_like(t, 999), t)


def loss_of(unet, noise_schedule: DDIMScheduler, x, states, null, centre: float) -> torch.Tensor:
    t = noisy_times(len(x), centre, x.device)
    noise = torch.randn_like(x)
    dropped = torch.rand(len(x), 1, 1, device=x.device) < 0.1  # for guidance
    states = torch.where(dropped, null[None], states)
    with autocast(x.device):
        v = unet(noise_schedule.add_noise(x, noise, t), t, states).sample.float()
    return (v - noise_schedule.get_velocity(x, noise, t)).square().mean()


def train_image(config, world, out, device, minutes) -> None:
    _train("image", None, config, world, out, device, minutes)


def train_video(config, world, out, device, minutes) -> None:
    _train("video", "image", config, world, out, device, minutes)


def _train(name, previous, config, world, out: Path, device, minutes) -> None:
    unet = build(config).to(device)
    ready = out / f"{name}-ready.pt"
    if ready.exists():
        return
    if previous and not (out / f"{name}.pt").exists():
        unet.load_state_dict(torch.load(out / f"{previous}-ready.pt", map_location=device, weights_only=True))
    stage = Stage(name, unet, config, out, minutes=minutes)
    settings = stage.settings
    world = World.from_config({**config["world"], **config.get("denoiser_world", {})})
    pool = Pool(config, world, out, device, config["seed"] + 97 * (1 + stage.step), settings.get("capacity", 20000))
    pool.grow(settings.get("pool", 24))
    schedule, null = scheduler(), pool.null()
    for progress in stage.steps():
        pool.grow(settings.get("grow", 1))
        images = settings.get("images", settings.get("batch", 0))
        x, states = pool.batch(images, 1)
        stage.backward(loss_of(unet, schedule, x, states, null, 0.2) * (1 if name == "image" else 0.5))
        if settings.get("clips"):
            short, full = settings["windows"]
            window = short if progress < settings.get("short_until", 0.5) else full
            x, states = pool.batch(settings["clips"] * (full // window), window)
            clip_loss = loss_of(unet, schedule, x, states, null, settings.get("noise_centre", 0.6))
            stage.backward(clip_loss, clip=float(clip_loss.detach()))
        stage.update()
    stage.ema.swap()
    torch.save(unet.state_dict(), ready)
    log(f"{name}: {stage.step} steps")
