# SPDX-License-Identifier: Apache-2.0
"""The denoiser: diffusers' UNet3DConditionModel on latents, first on single frames, then on frames and clips together.

v-prediction with zero terminal signal-to-noise ratio (arXiv 2305.08891), captions dropped for guidance. Clips are drawn
and encoded once into a pool and used a few times, since encoding would cost as much as a step.
"""
from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UNet3DConditionModel

import text
import vae
from captions import caption
from common import Stage, autocast, log, save_atomically
from look import Judge
from latents import Thumbnails
from world import World, clip_times, render, telling


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False,
        set_alpha_to_one=True)


def few_step_scheduler() -> DPMSolverMultistepScheduler:
    """The same schedule, sampled in few steps: DPM++ 2M."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing")


def build(config: dict) -> UNet3DConditionModel:
    c = dict(config["unet"])
    channels = config.get("latent_channels", 4)
    model = UNet3DConditionModel(
        sample_size=config["size"] // 8, in_channels=channels, out_channels=channels, cross_attention_dim=config["text"]["d_model"],
        **{k: tuple(v) if isinstance(v, list) else v for k, v in c.items()})
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the stream of clips never repeats: nothing to regularise
    return model


class Pool:
    """Encoded clips with their captions' states, on the device; every call of `grow` replaces the oldest once it is full."""

    CHUNK = 32  # clips drawn at a time

    def __init__(self, config: dict, world: World, out: Path, device, seed: int, settings: dict):
        self.config, self.world, self.device = config, world, device
        self.rng = random.Random(seed)
        self.tokenizer, self.encoder = text.load(config, out, device)
        designed = config.get("latents") == "thumbnails"
        self.thumbnails = Thumbnails(World.from_config(config["world"]), config["size"], device, config.get("latent_channels", 4)) if designed else None
        self.vae = None if designed else vae.load(config, out, device)
        self.shape_weight = settings.get("shape_weight", 0.0)
        self.stores: tuple = ()  # latents N C F H W, states N L D, weights N 1 F H W
        self.capacity, self.count, self.next = settings.get("capacity", 20000), 0, 0
        for start in range(0, settings["pool"], self.CHUNK):
            self.grow(min(self.CHUNK, settings["pool"] - start))

    @torch.no_grad()
    def null(self) -> torch.Tensor:
        return text.encode(self.encoder, self.tokenizer([""]).to(self.device))[0]

    @torch.no_grad()
    def grow(self, clips: int) -> None:
        frames = self.config["frames"]
        scenes = [self.world.sample(self.rng) for _ in range(clips)]
        times = [clip_times(frames)] * clips
        with autocast(self.device):
            z = self._encode(scenes, times).unflatten(0, (clips, frames))
            ids = self.tokenizer([caption(self.rng, s)[0] for s in scenes]).to(self.device)
            states = text.encode(self.encoder, ids).float()
        weights = self._weights(scenes, times, z)
        values = (z.transpose(1, 2), states, weights.transpose(1, 2))
        if not self.stores:
            self.stores = tuple(torch.empty(self.capacity, *v.shape[1:], device=self.device) for v in values)
        rows = torch.arange(self.next, self.next + clips, device=self.device) % self.capacity
        for store, value in zip(self.stores, values):
            store[rows] = value
        self.next, self.count = (self.next + clips) % self.capacity, min(self.count + clips, self.capacity)

    def _encode(self, scenes: list, times: list) -> torch.Tensor:
        if self.thumbnails:
            return self.thumbnails(scenes, times)[1]
        video = render(scenes, times, self.config["size"], self.device) * 2 - 1
        return self.vae.encode(video.flatten(0, 1)).latent_dist.mode().float()

    def _weights(self, scenes: list, times: list, z: torch.Tensor) -> torch.Tensor:
        """N F 1 H W: what a cell counts in the loss. A circle and a square differ in a few cells of a clip, and nothing
        else in the loss asks the UNet to read that word; the weight is the same for either, so it favours neither."""
        if not self.shape_weight:
            return torch.ones_like(z[:, :, :1])
        return 1 + self.shape_weight * telling(scenes, times, self.config["size"] // 2, self.device, self.world.shapes)

    def batch(self, count: int, window: int) -> tuple:
        """`count` clips thinned to `window` frames of the whole motion: latents B C F H W, caption states B L D and
        weights B 1 F H W."""
        picks = [self.rng.randrange(self.count) for _ in range(count)]
        frames = self.config["frames"]
        stride = (frames - 1) // (window - 1) if window > 1 else 1
        reach = (window - 1) * stride + 1
        starts = [self.rng.randint(0, frames - reach) for _ in picks]
        rows, moments = torch.tensor([picks, starts], device=self.device)[..., None]
        moments = moments + torch.arange(0, reach, stride, device=self.device)
        latents, states, weights = self.stores
        x, weights = (store[rows, :, moments].transpose(1, 2).contiguous() for store in (latents, weights))
        return x, states[rows[:, 0]], weights


def noisy_times(count: int, centre: float, device) -> torch.Tensor:
    """Timesteps: logit-normal, shifted to more noise for clips (their frames repeat each other); a fifth among the last
    200 and some exactly last. Only there a background is asked of the words: as the mean of many cells it soon shows
    through the noise, and a grey one, which is what the UNet guesses without words, teaches nothing at the very last."""
    t = (torch.sigmoid(torch.randn(count, device=device) * 1.1 + centre) * 1000).long().clamp(0, 999)
    lot = torch.rand(count, device=device)
    t = torch.where(lot < 0.28, torch.randint(800, 1000, (count,), device=device), t)
    return torch.where(lot < 0.08, torch.full_like(t, 999), t)


def loss_of(unet, noise_schedule: DDIMScheduler, batch: tuple, null, centre: float) -> torch.Tensor:
    x, states, weights = batch
    t = noisy_times(len(x), centre, x.device)
    noise = torch.randn_like(x)
    dropped = torch.rand(len(x), 1, 1, device=x.device) < 0.1  # for guidance
    states = torch.where(dropped, null[None], states)
    with autocast(x.device):
        v = unet(noise_schedule.add_noise(x, noise, t), t, states).sample.float()
    weights = torch.where(t[:, None, None, None, None] < 850, weights, 1)  # before, nobody knows where the object is
    return (weights * (v - noise_schedule.get_velocity(x, noise, t)).square()).sum() / weights.expand_as(x).sum()


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
    pool = Pool(config, world, out, device, config["seed"] + 97 * (1 + stage.step), settings)
    schedule, null = scheduler(), pool.null()
    judge = Judge(config, world, out, device, unet, stage.ema, scheduler,
                  settings.get("prompts", 60)) if settings.get("look") else None
    for progress in stage.steps():
        windows, centre = next((w, c) for until, w, c in settings["windows"] if progress < until or until >= 1)
        window = windows[stage.step % len(windows)]
        pool.grow(settings["grow"])
        batch = pool.batch(settings["frames"] // window, window)
        stage.backward(loss_of(unet, schedule, batch, null, centre))
        stage.update()
        if judge and judge.due(settings["look"]):
            judge.report(window)
    stage.ema.swap()
    save_atomically(unet.state_dict(), ready)
    log(f"{name}: {stage.step} steps")
