# SPDX-License-Identifier: Apache-2.0
"""What every stage of the training shares: the clock, checkpoints, the learning rate and the moving average.

A stage is boxed in time, not in steps: the learning rate follows the share of its minutes that are used up, so a slow
machine gives a worse model and never an unfinished schedule. A stage survives a kill: it saves every few minutes and on
SIGTERM, and goes on where it was.
"""
from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import torch

from muon import optimizer_for

STOP = {"asked": False}


def install_signals() -> None:
    def ask(_signal, _frame):
        STOP["asked"] = True
    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)


def log(*words) -> None:
    print(time.strftime("%H:%M:%S"), *words, flush=True)


def load_config(path: str | Path) -> dict:
    return json.loads(Path(path).read_text())


def setup(config: dict) -> torch.device:
    """Device and thread settings; the same seed gives the same stream of clips, not the same weights to the bit."""
    device = torch.device("cuda" if config.get("device", "auto") != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
        HALVES["cpu"] = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        torch.nn.functional.scaled_dot_product_attention = plain_attention
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True  # a handful of shapes, each met thousands of times
        torch.nn.functional.scaled_dot_product_attention = split_attention
    torch.manual_seed(config.get("seed", 0))
    return device


BLOCKED_ATTENTION = torch.nn.functional.scaled_dot_product_attention
ROWS = 32768  # a CUDA kernel of attention takes fewer than 65,536 sequences at a time
HALVES = {"cpu": False}  # whether a CPU computes in bfloat16, set by `setup`


def autocast(device: torch.device):
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda" or HALVES["cpu"])


def plain_attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, **_):
    """For short sequences on a CPU: a product, a softmax and a product take half the time of torch's blocked kernel,
    whose backward pass is slow in bfloat16."""
    if attn_mask is not None or is_causal or dropout_p:
        return BLOCKED_ATTENTION(q, k, v, attn_mask, dropout_p, is_causal)
    with torch.autocast("cpu", enabled=False):
        q, k, v = q.float(), k.float(), v.float()
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v


def split_attention(q, k, v, attn_mask=None, *rest, **named):
    """On a GPU: the temporal layers have a sequence for every cell of every clip, more than its kernels can count."""
    if len(q) <= ROWS or attn_mask is not None:
        return BLOCKED_ATTENTION(q, k, v, attn_mask, *rest, **named)
    return torch.cat([BLOCKED_ATTENTION(*part, None, *rest, **named) for part in zip(*(x.split(ROWS) for x in (q, k, v)))])


def save_atomically(state: dict, path: Path) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def warm_start(module: torch.nn.Module, file: Path) -> None:
    """Takes what fits by name and shape from the weights of another run, where a file of them has been left."""
    if not file.exists():
        return
    mine, theirs = module.state_dict(), torch.load(file, map_location="cpu", weights_only=True)
    fits = {k: v for k, v in theirs.items() if k in mine and mine[k].shape == v.shape}
    module.load_state_dict({**mine, **fits})
    log(f"warm start: {len(fits)} of {len(mine)} tensors of {file.name}")


class Ema:
    """Exponential moving average of the parameters, with a warm-up so that short runs are not held at their start."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.decay, self.step = decay, 0
        self.live = [p for p in module.parameters() if p.requires_grad]
        self.mean = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self) -> None:
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges live and averaged weights; call twice around an evaluation or once before an export."""
        for p, m in zip(self.live, self.mean):
            saved = p.detach().clone()
            p.copy_(m)
            m.copy_(saved)

    def state(self) -> dict:
        return {"step": self.step, "mean": self.mean}

    def load(self, state: dict) -> None:
        self.step = state["step"]
        for mine, theirs in zip(self.mean, state["mean"]):
            mine.copy_(theirs)


class Stage:
    """The loop of one stage: `for progress in stage.steps()` runs until the stage's minutes are used up."""

    def __init__(self, name: str, module: torch.nn.Module, config: dict, out: Path, *, minutes: float):
        self.name, self.module, self.out = name, module, out
        self.settings = config["stages"][name]
        self.seconds = minutes * 60
        self.used, self.step, self.losses = 0.0, 0, {}
        self.peak_lr = self.settings["lr"]
        params = [p for p in module.parameters() if p.requires_grad]
        self.params = params
        self.optimizer = optimizer_for(module, self.settings)
        self.ema = Ema(module, self.settings.get("ema", 0.999))
        self.file = out / f"{name}.pt"
        self._resume()

    def done(self) -> bool:
        return self.used >= self.seconds

    def progress(self) -> float:
        return min(1.0, self.used / max(self.seconds, 1e-9))

    def steps(self):
        started = last_save = last_log = time.monotonic()
        self.module.train()
        while not self.done():
            lr = self._rate()
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            yield self.progress()
            self.step += 1
            now = time.monotonic()
            self.used += now - started
            started = now
            if now - last_log > 30:
                mean = {k: round(sum(v) / len(v), 4) for k, v in self.losses.items()}
                log(f"{self.name} step {self.step} {self.used / 60:.1f}/{self.seconds / 60:.1f} min lr {lr:.2e}", mean)
                self.losses, last_log = {}, now
            if now - last_save > 120 or STOP["asked"]:
                self.save()
                last_save = time.monotonic()
                started = last_save
            if STOP["asked"]:
                log("stopped on request; run the same command to go on")
                sys.exit(143)
        self.save()

    def backward(self, loss: torch.Tensor, **named: float) -> None:
        loss.backward()
        for key, value in {"loss": float(loss.detach()), **named}.items():
            self.losses.setdefault(key, []).append(value)

    def update(self) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.params, self.settings.get("clip", 1.0))
        if torch.isfinite(norm):
            self.optimizer.step()
            self.ema.update()
        self.optimizer.zero_grad(set_to_none=True)

    def save(self) -> None:
        save_atomically({"model": self.module.state_dict(), "optimizer": self.optimizer.state_dict(),
                         "ema": self.ema.state(), "used": self.used, "step": self.step, "seconds": self.seconds},
                        self.file)

    def _rate(self) -> float:
        """Warm-up in steps, then level, then a cosine to (nearly) zero over the last part of the time."""
        warm = min(1.0, (self.step + 1) / self.settings.get("warmup", 100))
        hold = self.settings.get("hold", 0.3)
        late = max(0.0, (self.progress() - hold) / max(1 - hold, 1e-6))
        floor = self.settings.get("floor", 0.02)
        return self.peak_lr * warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * late)))

    def _resume(self) -> None:
        if not self.file.exists():
            return
        state = torch.load(self.file, map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load(state["ema"])
        self.used, self.step = state["used"], state["step"]
        log(f"{self.name}: going on at step {self.step}, {self.used / 60:.1f} of {self.seconds / 60:.1f} min")
