#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The diffusers side of scripts/bench-compare: answers `unet`, `vae`, `latents IN OUT` and `distance A B` with one line of
JSON each (serve), or makes one clip as a user's script would and exits (a file name)."""
import json
import os
import subprocess
import sys
import time

(MODEL, DEVICE, DTYPE, WIDTH, HEIGHT, FRAMES, STEPS, CFG, THREADS, MODE, WHAT) = sys.argv[1:12]
WIDTH, HEIGHT, FRAMES, STEPS, THREADS, CFG = int(WIDTH), int(HEIGHT), int(FRAMES), int(STEPS), int(THREADS), float(CFG)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import warnings  # noqa: E402

warnings.filterwarnings("ignore")
import torch  # noqa: E402
import diffusers  # noqa: E402

torch.set_num_threads(THREADS)
torch.set_grad_enabled(False)
if DTYPE == "fp32":
    torch.backends.cudnn.allow_tf32 = False  # as in t2v
PROMPT = "a red circle"


def load():
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[DTYPE]
    index = json.load(open(os.path.join(MODEL, "model_index.json")))
    pipe = getattr(diffusers, index["_class_name"]).from_pretrained(MODEL, torch_dtype=dtype, local_files_only=True,
                                                                    use_safetensors=True).to(DEVICE)
    if MODE == "compile":
        pipe.unet = torch.compile(pipe.unet)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call(pipe, **more):
    return pipe(PROMPT, width=WIDTH, height=HEIGHT, num_frames=FRAMES, num_inference_steps=STEPS, guidance_scale=CFG,
                **more).frames


def write_mp4(frames, path):
    """frames [1, F, H, W, 3] in 0..1, through the same encoder as t2v's default"""
    rgb = (frames[0] * 255).round().astype("uint8")
    try:
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r",
                        "8", "-i", "-", "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", path], input=rgb.tobytes(),
                       check=True)
    except FileNotFoundError:
        from diffusers.utils import export_to_video
        export_to_video(list(frames[0]), path, fps=8)


def timed(work, calls):
    seconds = []
    for _ in range(calls):
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {"seconds": sorted(seconds)[len(seconds) // 2]}


def serve(pipe):
    arguments = {}
    original = pipe.unet.forward

    def remember(*args, **kwargs):
        arguments.update(args=args, kwargs=kwargs)
        return original(*args, **kwargs)
    pipe.unet.forward = remember
    latents = call(pipe, output_type="latent", generator=torch.Generator().manual_seed(1))
    pipe.unet.forward = original
    unet_latents = latents / pipe.vae.config.scaling_factor
    images = unet_latents[0].transpose(0, 1).contiguous()
    print(json.dumps({"torch": torch.__version__, "diffusers": diffusers.__version__}), flush=True)

    from safetensors.torch import load_file, save_file
    for line in sys.stdin:
        words = line.split()
        if words[0] == "unet":
            answer = timed(lambda: pipe.unet(*arguments["args"], **arguments["kwargs"]), 3)
        elif words[0] == "vae":
            answer = timed(lambda: pipe.vae.decode(images), 2)
        elif words[0] == "latents":
            initial = torch.randn(latents.shape, generator=torch.Generator().manual_seed(7))
            save_file({"latents": initial}, words[1])
            final = call(pipe, output_type="latent", latents=initial.to(DEVICE, latents.dtype))
            save_file({"latents": final.float().cpu().contiguous()}, words[2])
            answer = {}
        else:
            a, b = (load_file(word)["latents"].double() for word in words[1:3])
            answer = {"relative_l2": float((a - b).norm() / a.norm())}
        print(json.dumps(answer), flush=True)


if WHAT == "serve":
    serve(load())
else:
    write_mp4(call(load(), output_type="np", generator=torch.Generator().manual_seed(1)), WHAT)
