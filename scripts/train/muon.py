# SPDX-License-Identifier: Apache-2.0
"""Muon for matrices, AdamW for the rest, as one optimizer.

A matrix (a convolution counts as outputs × everything else) moves by its momentum with all singular values made one,
by five Newton-Schulz steps with the coefficients of Keller Jordan's Muon (2024); the factor 0.2 √max(rows, columns) gives
steps of AdamW's usual size (arXiv 2502.16982), so one learning rate serves both halves. A small model needs about half
the clips that AdamW alone would take.
"""
from __future__ import annotations

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(batch: torch.Tensor) -> torch.Tensor:
    """N rows columns -> the same with all singular values near one."""
    a, b, c = COEFFICIENTS
    x = batch.mT if batch.shape[-2] > batch.shape[-1] else batch
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if batch.shape[-2] > batch.shape[-1] else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape: dict = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                if "trace" not in self.state[p]:
                    self.state[p]["trace"] = torch.zeros_like(p)
                trace = self.state[p]["trace"]
                trace.lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(trace, group["momentum"]).flatten(1)  # Nesterov's look ahead
                by_shape.setdefault(ahead.shape, []).append((p, ahead))
            for shape, members in by_shape.items():
                moves = orthogonalised(torch.stack([ahead for _, ahead in members]))
                for (p, _), move in zip(members, moves):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(move.view_as(p), alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)


class Pair:
    """Two optimizers that look like one to the stage."""

    def __init__(self, *parts: torch.optim.Optimizer):
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict) -> None:
        for part, saved in zip(self.parts, state["parts"]):
            part.load_state_dict(saved)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def optimizer_for(module: torch.nn.Module, settings: dict):
    """AdamW, or with "muon" in the settings Muon for the matrices that are no tables."""
    params = [p for p in module.parameters() if p.requires_grad]
    matrices, plain = [p for p in params if p.ndim > 1], [p for p in params if p.ndim <= 1]
    betas = (0.9, settings.get("beta2", 0.99))
    if not settings.get("muon"):
        return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
                                 lr=settings["lr"], betas=betas, fused=True)
    return Pair(Muon(matrices, settings["lr"]),
                torch.optim.AdamW(plain, lr=settings["lr"], betas=betas, weight_decay=0.0, fused=True))
