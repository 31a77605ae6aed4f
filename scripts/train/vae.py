# SPDX-License-Identifier: Apache-2.0
"""The autoencoder: diffusers' AutoencoderKL at a small size, trained on single frames of the world.

Loss: L1 at three scales, L1 of gradients, a little KL; the decoder sees latents with added noise so that it forgives a
few-step sampler. Afterwards the latents' mean and deviation per channel are folded into quant_conv and post_quant_conv,
so the shipped scaling factor is 1 and latents have unit variance.
"""
from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from common import Stage, autocast, log, save_atomically, warm_start
from latents import Thumbnails
from world import World, render


def build(config: dict) -> AutoencoderKL:
    c = config["vae"]
    levels = len(c["block_out_channels"])
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=config.get("latent_channels", 4), layers_per_block=c["layers_per_block"],
        block_out_channels=tuple(c["block_out_channels"]), norm_num_groups=c["norm_num_groups"],
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
        mid_block_add_attention=False, sample_size=config["size"], scaling_factor=1.0)


def frames(world: World, rng: random.Random, count: int, size: int, device) -> torch.Tensor:
    """`count` frames of unrelated clips, in -1 … 1."""
    scenes = [world.sample(rng, split="any") for _ in range(count)]
    return render(scenes, [[rng.random()] for _ in scenes], size, device)[:, 0] * 2 - 1


def _gradient(x):
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def reconstruction(x: torch.Tensor, y: torch.Tensor) -> tuple:
    """(the weighted sum of the pixel losses, plain L1)."""
    away = (x - x[:, :, :1, :1]).abs().amax(1, keepdim=True) > 0.1  # objects are a tenth of the picture: count more
    weight = 1 + 4 * away.float()
    l1 = (y - x).abs().mean()
    total = (weight * (y - x).abs()).mean()
    for k in (2, 4):
        total = total + 0.5 * (F.avg_pool2d(y, k) - F.avg_pool2d(x, k)).abs().mean()
    for gy, gx in zip(_gradient(y), _gradient(x)):
        total = total + 0.5 * (gy - gx).abs().mean()
    return total + 0.5 * ((y - x) ** 2).mean(), l1


def loss_of(model: AutoencoderKL, x: torch.Tensor, noise: float) -> tuple:
    posterior = model.encode(x).latent_dist
    z = posterior.sample()
    z = z + torch.rand(len(z), 1, 1, 1, device=z.device) * noise * z.detach().std() * torch.randn_like(z)
    y = model.decode(z).sample
    total, l1 = reconstruction(x, y)
    return total + 1e-5 * posterior.kl().mean() / x.shape[-1], l1


@torch.no_grad()
def psnr(model: AutoencoderKL, world: World, size: int, device, count: int = 64) -> float:
    x = frames(world, random.Random(12345), count, size, device)
    y = model.decode(model.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
    mse = ((y - x) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * mse.log10()).mean())


@torch.no_grad()
def fold_statistics(model: AutoencoderKL, world: World, size: int, device) -> None:
    """Makes the latents zero-mean and unit-variance per channel, exactly undone before the decoder."""
    x = frames(world, random.Random(777), 512, size, device)
    z = torch.cat([model.encode(part).latent_dist.mode() for part in x.split(64)])
    mean, std = z.mean(dim=(0, 2, 3)), z.std(dim=(0, 2, 3))
    quant, post = model.quant_conv, model.post_quant_conv
    channels = len(mean)
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight *= std[None, :, None, None]
    quant.weight[:channels] /= std[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / std
    # the second half holds log-variances
    quant.bias[channels:] -= 2 * std.log()
    log("vae: folded mean", [round(float(v), 3) for v in mean], "std", [round(float(v), 3) for v in std])


def load(config: dict, out: Path, device) -> AutoencoderKL:
    """The finished autoencoder, frozen; a running stage's moving average when it isn't finished."""
    model = build(config).to(device)
    if (out / "vae-ready.pt").exists():
        model.load_state_dict(torch.load(out / "vae-ready.pt", map_location=device, weights_only=True))
    else:
        running = "decoder" if config.get("latents") == "thumbnails" else "vae"
        state = torch.load(out / f"{running}.pt", map_location=device, weights_only=True)
        for p, mean in zip(model.parameters(), state["ema"]["mean"]):
            p.data.copy_(mean)
    return model.eval().requires_grad_(False)


def train_decoder(config: dict, world: World, out: Path, device, minutes: float) -> None:
    """With designed latents: the decoder learns to draw from them, the encoder (every third step) to measure them."""
    if config.get("latents") != "thumbnails" or (out / "vae-ready.pt").exists():
        return
    model = build(config).to(device)
    warm_start(model, out / "vae-start.pt")
    thumbnails = Thumbnails(world, config["size"], device, config.get("latent_channels", 4))
    drawn = World.from_config({**config["world"], **config.get("decoder_world", {})})
    stage = Stage("decoder", model, config, out, minutes=minutes)
    rng = random.Random(config["seed"] + 2000 * (1 + stage.step))
    for _ in stage.steps():
        scenes = [drawn.sample(rng, split="any") for _ in range(stage.settings["batch"])]
        x, z = thumbnails(scenes, [[rng.random()] for _ in scenes])
        noisy = z + torch.rand(len(z), 1, 1, 1, device=device) * stage.settings["noise"] * torch.randn_like(z)
        with autocast(device):
            loss, l1 = reconstruction(x, model.decode(noisy).sample)
            if stage.step % 3 == 2:
                moments = model.encode(x).latent_dist
                loss = loss + (moments.mean - z).square().mean() + 0.01 * (moments.logvar + 8).square().mean()
        stage.backward(loss, l1=float(l1.detach()))
        stage.update()
    stage.ema.swap()
    model.eval()
    log(f"decoder: {stage.step} steps, PSNR of encoder and decoder {psnr(model, world, config['size'], device):.2f} dB")
    save_atomically(model.state_dict(), out / "vae-ready.pt")


def train(config: dict, world: World, out: Path, device, minutes: float) -> AutoencoderKL | None:
    if config.get("latents") == "thumbnails":
        return None  # the decoder stage makes it
    model = build(config).to(device)
    ready = out / "vae-ready.pt"
    if ready.exists():
        return load(config, out, device)
    warm_start(model, out / "vae-start.pt")
    stage = Stage("vae", model, config, out, minutes=minutes)
    rng = random.Random(config["seed"] + 1000 * (1 + stage.step))
    for _ in stage.steps():
        x = frames(world, rng, stage.settings["batch"], config["size"], device)
        with autocast(device):
            loss, l1 = loss_of(model, x, stage.settings["noise"])
        stage.backward(loss, l1=float(l1.detach()))
        stage.update()
    stage.ema.swap()
    model.eval()
    log(f"vae: {stage.step} steps, PSNR {psnr(model, world, config['size'], device):.2f} dB")
    fold_statistics(model, world, config["size"], device)
    log(f"vae: after folding PSNR {psnr(model, world, config['size'], device):.2f} dB")
    save_atomically(model.state_dict(), ready)
    return model.requires_grad_(False)
