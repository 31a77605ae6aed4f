#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The diffusers side of scripts/bench-compare: peer.py SETTINGS [CLIP.mp4]; SETTINGS are bench-compare's options as JSON.

With a file name it makes one clip as a user's script would, and exits. Without one it answers each line of standard input
with a line of JSON: `unet eager|compile` and `vae` with seconds; `noise FILE`, `latents NOISE FILE DTYPE` and `distance A B`
are for the same run from the same noise. A family is a row in FAMILIES; everything below the table is for all of them.
"""
import json
import os
import subprocess
import sys
import time
import types
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

ASKED = types.SimpleNamespace(**json.loads(sys.argv[1]))
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LOADING = {"torch_dtype": DTYPES[ASKED.dtype], "local_files_only": True}

diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(ASKED.threads)
torch.set_grad_enabled(False)
torch.backends.cudnn.allow_tf32 = False  # as in t2v; other precisions do not ask


def pipeline_class():
    with open(os.path.join(ASKED.model, "model_index.json")) as index:
        return json.load(index)["_class_name"]


def load_folder():
    return getattr(diffusers, pipeline_class()).from_pretrained(ASKED.model, use_safetensors=True, **LOADING)


def load_with_motion():
    """diffusers' documentation of AnimateDiff: the adapter beside the picture model, and the scheduler of its training."""
    adapter = diffusers.MotionAdapter.from_pretrained(ASKED.motion_module, **LOADING)
    pipe = diffusers.AnimateDiffPipeline.from_pretrained(ASKED.model, motion_adapter=adapter, use_safetensors=True, **LOADING)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, beta_schedule="linear", clip_sample=False, timestep_spacing="linspace", steps_offset=1)
    return pipe


def prompt():
    return {"prompt": ASKED.prompt, "guidance_scale": ASKED.cfg_scale}


def image():
    """Frame rate, motion and the image's noise stay at the pipeline's defaults, which are t2v's; so does the ramp's start."""
    from PIL import Image
    return {"image": Image.open(ASKED.image).convert("RGB"), "max_guidance_scale": ASKED.cfg_scale}


class Family:
    """load() -> pipeline; conditions() -> what its call takes beside sizes; decode(pipe, latents) -> frames, in the chunks
    that the pipeline decodes by itself."""

    def __init__(self, load, conditions, decode):
        self.load, self.conditions, self.decode = load, conditions, decode


FAMILIES = {
    "TextToVideoSDPipeline": Family(load_folder, prompt, lambda pipe, latents: pipe.decode_latents(latents)),
    "StableDiffusionPipeline": Family(load_with_motion, prompt, lambda pipe, latents: pipe.decode_latents(latents, 16)),
    "StableVideoDiffusionPipeline": Family(
        load_folder, image, lambda pipe, latents: pipe.decode_latents(latents, ASKED.frames, ASKED.frames))}


class Peer:
    def __init__(self):
        self.family = FAMILIES[pipeline_class()]
        self.pipe = self.family.load().to(ASKED.device)
        self.pipe.set_progress_bar_config(disable=True)

    def clip(self, **more):
        """The seed is the one that t2v is given: SVD draws noise for the image before it needs latents."""
        return self.pipe(**self.family.conditions(), width=ASKED.width, height=ASKED.height, num_frames=ASKED.frames,
                         num_inference_steps=ASKED.steps, generator=torch.Generator().manual_seed(ASKED.seed), **more).frames


def write_mp4(frames, path):
    """frames [1, F, H, W, 3] in 0..1, through the same encoder as t2v's default"""
    rgb = (frames[0] * 255).round().astype("uint8")
    try:
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
                        f"{ASKED.width}x{ASKED.height}", "-r", "8", "-i", "-", "-c:v", "libx264", "-crf", "18", "-pix_fmt",
                        "yuv420p", path], input=rgb.tobytes(), check=True)
    except FileNotFoundError:
        from diffusers.utils import export_to_video
        export_to_video(list(frames[0]), path, fps=8)


def wait():
    if ASKED.device == "cuda":
        torch.cuda.synchronize()


def timed(work, calls):
    seconds = []
    for _ in range(calls):
        wait()
        start = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - start)
    return {"seconds": sorted(seconds)[len(seconds) // 2]}


class Server:
    """One pipeline that stays; idle while t2v is measured."""

    def __init__(self):
        torch.backends.cudnn.benchmark = True  # searching is not timed here, so it can only help
        self.peer = Peer()
        unet, self.call = self.peer.pipe.unet, {}
        hook = unet.register_forward_pre_hook(lambda _, args, kwargs: self.call.update(args=args, kwargs=kwargs),
                                              with_kwargs=True)
        self.made = self.peer.clip(output_type="latent")
        hook.remove()
        self.networks = {"eager": unet}

    def facts(self):
        on_gpu = {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if ASKED.device == "cuda" else {}
        return {"torch": torch.__version__, "diffusers": diffusers.__version__, **on_gpu}

    def unet(self, mode):
        """The network alone, with the arguments of the pipeline's last step. Compiling is not timed."""
        if mode not in self.networks:
            self.networks[mode] = torch.compile(self.networks["eager"])
            for _ in range(2):
                self.networks[mode](*self.call["args"], **self.call["kwargs"])
        return timed(lambda: self.networks[mode](*self.call["args"], **self.call["kwargs"]), 3)

    def vae(self):
        return timed(lambda: self.peer.family.decode(self.peer.pipe, self.made), 3)

    def noise(self, path):
        from safetensors.torch import save_file
        save_file({"latents": torch.randn(self.made.shape, generator=torch.Generator().manual_seed(7))}, path)
        return {}

    def latents(self, noise, made, dtype):
        """A run from that noise, in the asked precision or another: bf16 and fp16 go to fp32 and back without a change."""
        from safetensors.torch import load_file, save_file
        self.peer.pipe.to(DTYPES[dtype])
        initial = load_file(noise)["latents"].to(ASKED.device, DTYPES[dtype])
        latents = self.peer.clip(output_type="latent", latents=initial)
        self.peer.pipe.to(DTYPES[ASKED.dtype])
        save_file({"latents": latents.float().cpu().contiguous()}, made)
        return {}

    def distance(self, one, other):
        from safetensors.torch import load_file
        a, b = (load_file(path)["latents"].double() for path in (one, other))
        return {"relative_l2": float((a - b).norm() / a.norm())}


def serve():
    server = Server()
    print(json.dumps(server.facts()), flush=True)
    answers = {"unet": server.unet, "vae": server.vae, "noise": server.noise, "latents": server.latents,
               "distance": server.distance}
    for line in sys.stdin:
        name, *words = line.split()
        answer = answers[name](*words)
        if ASKED.device == "cuda":
            torch.cuda.empty_cache()  # t2v is next, and finds room; the median call does not ask for it again
        print(json.dumps(answer), flush=True)


if len(sys.argv) > 2:
    write_mp4(Peer().clip(output_type="np"), sys.argv[2])
else:
    serve()
