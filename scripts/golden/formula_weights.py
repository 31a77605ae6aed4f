# SPDX-License-Identifier: Apache-2.0
"""Weights by a formula that tests/support/formula_weights.hpp shares bit for bit, so that goldens hold no weights.

value(name, index) = centre(name) + scale(name, shape) * u, where u in [-1, 1) has 24 bits and comes from
splitmix64(fnv1a64(name) + (index + 1) * 0x9E3779B97F4A7C15), computed in double, rounded once to float32.

  name ends with "bias"                        0.1 u
  rank 1, otherwise (norm weights)             1 + 0.25 u
  rank >= 2 (linear, convolution, embedding)   u sqrt(3 / fan_in), fan_in = product of all axes but the first
  input(name, shape)                           u sqrt(3): unit variance

Every parameter is non-zero and different, and signals keep their size from layer to layer.
"""
import math

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def fnv1a64(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def uniform(name: str, count: int) -> np.ndarray:
    """`count` doubles in [-1, 1)."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name)) + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def weight(name: str, shape) -> np.ndarray:
    u = uniform(name, math.prod(shape))
    if name.endswith("bias"):
        value = 0.1 * u
    elif len(shape) <= 1:
        value = 1.0 + 0.25 * u
    else:
        value = u * math.sqrt(3.0 / math.prod(shape[1:]))
    return value.astype(np.float32).reshape(shape)


def model_input(name: str, shape) -> np.ndarray:
    return (uniform(name, math.prod(shape)) * math.sqrt(3.0)).astype(np.float32).reshape(shape)


def fill(module) -> dict:
    """Overwrites every parameter of a torch module; returns its manifest {name: shape}."""
    import torch

    manifest = {}
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
            manifest[name] = list(tensor.shape)
    return manifest


def tree(manifest: dict) -> dict:
    """The manifest as nested objects: dotted names share their prefixes, which keeps the files small."""
    root = {}
    for name, shape in manifest.items():
        *parents, leaf = name.split(".")
        node = root
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = shape
    return root
