#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every command the README shows, and holds its flag table against the program.

usage: readme_test.py SOURCE_DIR T2V CHECKPOINT WORK_DIR

Commands that need a published checkpoint run with --dry-run on a tiny one under that name. scripts/t2v and scripts/test
are this very test's callers and are not run again.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

CALLERS = ("scripts/t2v --prompt", "scripts/test")
# Name -> which tiny checkpoint stands for it: CHECKPOINT followed by this.
PUBLISHED = {"text-to-video-ms-1.7b": "", "zeroscope_v2_576w": "", "zeroscope_v2_XL": "", "potat1": "",
             "stable-video-diffusion-img2vid": "-svd", "stable-video-diffusion-img2vid-xt-1-1": "-svd"}
# What users keep as single files, in the folder CHECKPOINT-sd.
SINGLE_FILES = {"v1-5-pruned-emaonly.safetensors": "model.safetensors", "realisticVision.safetensors": "model.safetensors",
                "svd_xt.safetensors": "svd_xt.safetensors"}
MOTION_MODULES = ("v3_sd15_mm.ckpt", "animatediff_lightning_4step_comfyui.safetensors")


def commands(readme):
    """(line, needs a published checkpoint) in reading order."""
    for block in re.findall(r"```sh\n(.*?)```", readme, re.S):
        for line in block.splitlines():
            if line.strip() and not line.startswith(CALLERS):
                yield line, False
    for line in re.findall(r"`(t2v -m [^`]+)`", readme):
        yield line, True


def main(source, program, checkpoint, work):
    readme = (pathlib.Path(source) / "README.md").read_text()
    failures = []
    table = subprocess.run([program, "--print-flag-table"], capture_output=True, text=True, check=True).stdout
    if table not in readme:
        failures.append("the flag table is not what `t2v --print-flag-table` prints")

    shutil.rmtree(work, ignore_errors=True)
    work = pathlib.Path(work)
    (work / "bin").mkdir(parents=True)
    (work / "bin/t2v").symlink_to(program)
    shutil.copy(pathlib.Path(source) / "tests/golden/lora/saved.safetensors", work / "style.safetensors")
    (work / "prompts.txt").write_text("a red circle\na blue square moving left\n")
    for name, kind in PUBLISHED.items():
        (work / "models" / name).parent.mkdir(exist_ok=True)
        (work / "models" / name).symlink_to(checkpoint + kind)
    for name, file in SINGLE_FILES.items():
        (work / "models" / name).symlink_to(f"{checkpoint}-sd/{file}")
    for name in MOTION_MODULES:
        (work / name).symlink_to(f"{checkpoint}-sd/motion_module.safetensors")
    env = dict(os.environ, PATH=f"{work}/bin:{os.environ['PATH']}", T2V_MODELS=str(work / "models"),
               OMP_WAIT_POLICY="PASSIVE")
    count = 0
    for line, published in commands(readme):
        if "ffmpeg" in line and not shutil.which("ffmpeg"):
            line = line.replace("ffmpeg -v error -i - -f null -", "cat > /dev/null")
        if published:
            if "--video small.mp4" in line:
                subprocess.run(["t2v", "-p", "a red circle", "-o", "small.mp4", "--frames", "2", "-y", "-q"], cwd=work,
                               env=env, check=True)
            if "--image photo.png" in line:
                subprocess.run(["t2v", "-p", "a red circle", "-o", "photo.png", "--frames", "1", "-y", "-q"], cwd=work,
                               env=env, check=True)
            line += " --dry-run"
        result = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=work, env=env, text=True,
                                capture_output=True, stdin=subprocess.DEVNULL)
        count += 1
        if result.returncode != 0:
            failures.append(f"$ {line}\n  exit {result.returncode}: {result.stderr.strip()[-400:]}")
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        if not (pathlib.Path(source) / link).exists():
            failures.append(f"the link {link} leads nowhere")
    if count < 15:
        failures.append(f"wanted at least 15 commands in the README, found {count}")
    print("\n".join(failures) or f"{count} commands ran")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
