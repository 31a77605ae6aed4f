#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the goldens under tests/golden again, from the reference implementations. Tests never run this.

Needs the packages that scripts/versions.sh pins as t2v_golden (torch, diffusers, transformers) and, for whole runs, a
folder with CLIP's vocab.json and merges.txt in T2V_CLIP_TOKENIZER; single_file needs scripts/convert_svd_to_diffusers.py of
diffusers' repository in T2V_DIFFUSERS_SVD_SCRIPT.

  scripts/make_golden.py            all areas
  scripts/make_golden.py text nets  some
"""
import importlib
import pathlib
import sys

AREAS = ("io", "text", "nets", "sampling", "clips", "pipelines", "lora", "prompts", "unet2d", "stable_diffusion",
         "single_file", "svd", "taesd", "flops")
ROOT = pathlib.Path(__file__).resolve().parents[1]


def main(names):
    unknown = [name for name in names if name not in AREAS]
    if unknown:
        sys.exit(f"make_golden: unknown area {unknown[0]}; known: {' '.join(AREAS)}")
    sys.path.insert(0, str(ROOT / "scripts"))
    for name in names or AREAS:
        print(f"{name} ...", flush=True)
        importlib.import_module(f"golden.{name}").main(ROOT / "tests/golden" / name)


if __name__ == "__main__":
    main(sys.argv[1:])
