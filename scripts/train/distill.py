# SPDX-License-Identifier: Apache-2.0
"""Few-step distillation: a UNet that needs four calls and no guidance, for diffusers' LCMScheduler.

Latent consistency (arXiv 2310.04378, for video 2312.09109) with the guidance fixed: at each of the moments at which the
sampler will ask, the student has to say what the guided teacher's trajectory ends in. The teacher walks from one such
moment to the next by a few DDIM steps, and the student's own running average says what comes after that. Only the
sampler's moments are trained, not the whole grid: a small machine has no clips to spare for moments nobody visits.
"""
from __future__ import annotations

from pathlib import Path

import torch
from diffusers import LCMScheduler

import diffusion
from common import Stage, autocast, log, save_atomically
from look import Judge
from world import World

HUBER = 0.001  # times the root of the number of values, as in consistency models


def scheduler() -> LCMScheduler:
    return LCMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False,
        set_alpha_to_one=True, original_inference_steps=50)


class Walk:
    """What the schedule says at a timestep; -1 is the picture without noise."""

    def __init__(self, device):
        self.kept = torch.cat([diffusion.scheduler().alphas_cumprod, torch.ones(1)]).to(device)

    def shares(self, t: torch.Tensor) -> tuple:
        kept = self.kept[t][:, None, None, None, None]
        return kept.sqrt(), (1 - kept).sqrt()

    def clean(self, x, v, t):
        signal, noise = self.shares(t)
        return signal * x - noise * v

    def ddim(self, x, v, t, to):
        signal, noise = self.shares(t)
        next_signal, next_noise = self.shares(to)
        return next_signal * (signal * x - noise * v) + next_noise * (noise * x + signal * v)


@torch.no_grad()
def teachers_end(walk: Walk, teacher, mean, x, t, to, states, null, guidance: float, substeps: int) -> torch.Tensor:
    """Guided DDIM from t to `to` in `substeps`; then what the student's running average makes of the place reached."""
    both = torch.cat([null.expand_as(states), states])
    for k in range(substeps):
        here, there = (t + (to - t) * j // substeps for j in (k, k + 1))
        blank, told = teacher(torch.cat([x, x]), torch.cat([here, here]), both).sample.float().chunk(2)
        x = walk.ddim(x, blank + guidance * (told - blank), here, there)
    last = to < 0
    ends = walk.clean(x, mean(x, to.clamp(min=0), states).sample.float(), to.clamp(min=0))
    return torch.where(last[:, None, None, None, None], x, ends)


def huber(difference: torch.Tensor) -> torch.Tensor:
    c = HUBER * difference[0].numel() ** 0.5
    return ((difference.square() + c * c).sqrt() - c).mean()


def train(config: dict, world: World, out: Path, device, minutes: float) -> None:
    ready = out / "distill-ready.pt"
    if ready.exists():
        return
    teacher, student, mean = (diffusion.build(config).to(device) for _ in range(3))
    start = torch.load(out / "video-ready.pt", map_location=device, weights_only=True)
    for unet in (teacher, student, mean):
        unet.load_state_dict(start)
    teacher.requires_grad_(False)
    stage = Stage("distill", student, config, out, minutes=minutes)
    for p, average in zip(mean.parameters(), stage.ema.mean):
        p.data = average  # the same memory: always the average of now
    mean.requires_grad_(False)
    settings = stage.settings
    world = World.from_config({**config["world"], **config.get("denoiser_world", {})})
    pool = diffusion.Pool(config, world, out, device, config["seed"] + 97 * (1 + stage.step), settings)
    moments = scheduler()
    moments.set_timesteps(settings["steps"], original_inference_steps=50)
    stops = torch.cat([moments.timesteps, torch.tensor([-1])]).to(device)
    walk, null = Walk(device), pool.null()
    judge = Judge(config, world, out, device, student, stage.ema, scheduler,
                  settings.get("prompts", 60)) if settings.get("look") else None
    for _ in stage.steps():
        pool.grow(settings["grow"])
        x, states, _ = pool.batch(settings["clips"], config["frames"])
        at = torch.randint(0, settings["steps"], (len(x),), device=device)
        t, to = stops[at], stops[at + 1]
        signal, noise = walk.shares(t)
        x = signal * x + noise * torch.randn_like(x)
        with autocast(device):
            goal = teachers_end(walk, teacher, mean, x, t, to, states, null, settings["guidance"], settings["substeps"])
            said = walk.clean(x, student(x, t, states).sample.float(), t)
        stage.backward(huber(said - goal))
        stage.update()
        if judge and judge.due(settings["look"]):
            judge.report(config["frames"], settings["steps"], 1)
    stage.ema.swap()
    save_atomically(student.state_dict(), ready)
    log(f"distill: {stage.step} steps")
