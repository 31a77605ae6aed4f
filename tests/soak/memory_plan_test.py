# SPDX-License-Identifier: Apache-2.0
"""The memory that --dry-run promises is what a run takes. memory_plan_test.py PROGRAM MAKE_CHECKPOINT FOLDER

Each case is planned and run; the peak of resident memory must lie within 15 % of the plan. Small runs are mostly the
libraries, so several cases are sized to need as much again.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

TOLERANCE = 0.15


def run(command):
    """Exit code, standard output, standard error, peak memory in bytes."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(os.environ, OMP_WAIT_POLICY="PASSIVE"))
    out, err = child.stdout.read(), child.stderr.read()  # -q: what it says fits the pipes
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, out.decode(), err.decode(), usage.ru_maxrss * 1024


def cases(folder, image):
    """Name, arguments, file name."""
    step = ["-p", "a red circle moves right", "--steps", "1"]
    modelscope = ["-m", folder / "modelscope", *step]
    animate = ["-m", folder / "sd/model.safetensors", "--motion-module", folder / "sd/motion_module.safetensors", *step]
    svd = ["-m", folder / "svd", "--image", image, "--steps", "1"]
    yield "the embedded model", step, "a.mp4"
    yield "the embedded model as webm", step, "a.webm"
    yield "120 frames as gif", [*step, "--frames", "120"], "a.gif"
    yield "256x256, one frame decoded at once", [*step, "--size", "256x256", "--frames", "8", "--decode-chunk", "1"], "a.mp4"
    yield "256x256, four frames decoded at once", [*step, "--size", "256x256", "--frames", "8", "--decode-chunk", "4"], "a.y4m"
    yield "256x256, 24 frames", [*step, "--size", "256x256", "--frames", "24"], "a.mp4"
    yield "modelscope", [*modelscope, "--size", "256x256", "--frames", "16"], "a.mp4"
    yield "modelscope without guidance", [*modelscope, "--size", "256x256", "--frames", "16", "--cfg-scale", "1"], "a.y4m"
    yield "animatediff", [*animate, "--size", "256x256", "--frames", "16"], "a.mp4"
    yield "a picture", [*animate[:2], *step, "--size", "512x512"], "a.png"
    yield "svd", [*svd, "--size", "128x128", "--frames", "8"], "a.mp4"
    yield "svd, two frames decoded at once", [*svd, "--size", "192x192", "--frames", "6", "--decode-chunk", "2"], "a.y4m"


def planned(program, arguments):
    code, out, err, _ = run([program, *map(str, arguments), "--dry-run"])
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def judge(name, plan, code, err, peak):
    off = peak / plan - 1
    print(f"{name:40} planned {plan / 1e6:6.1f} MB, taken {peak / 1e6:6.1f} MB, {off:+.1%}", flush=True)
    if code != 0:
        return [f"{name}: exit code {code}: {err}"]
    return [f"{name}: {off:+.1%}"] if abs(off) > TOLERANCE else []


def single_runs(program, folder, image):
    for name, arguments, output in cases(folder, image):
        command = [*arguments, "-o", folder / output, "-y", "-q"]
        plan, = planned(program, [*command, "--json"])
        code, _, err, peak = run([program, *map(str, command)])
        yield from judge(name, plan["memory"]["total_peak"], code, err, peak)


def batch(program, folder):
    """The plan of the largest job is the plan of the batch."""
    jobs = [{"prompt": "a", "output": str(folder / f"{i}.mp4"), "steps": 1, "frames": frames, "size": size}
            for i, (frames, size) in enumerate([(4, "64x64"), (16, "256x256"), (8, "128x192"), (2, "32x32"), (16, "224x224")])]
    (folder / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))
    command = ["batch", folder / "jobs.jsonl", "-m", folder / "modelscope", "-y", "-q"]
    plan = max(line["plan"]["memory"]["total_peak"] for line in planned(program, command))
    code, _, err, peak = run([program, *map(str, command)])
    yield from judge("a batch of five sizes", plan, code, err, peak)


def main(program, make_checkpoint, folder):
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, kind in (("modelscope", []), ("svd", ["svd"]), ("sd", ["stable-diffusion"])):
        subprocess.run([make_checkpoint, folder / name, *kind], check=True)
    image = folder / "image.png"
    picture = ["-m", folder / "sd/model.safetensors", "-p", "a", "--steps", "1", "--size", "64x64", "-o", image, "-q"]
    assert run([program, *map(str, picture)])[0] == 0
    problems = [*single_runs(program, folder, image), *batch(program, folder)]
    shutil.rmtree(folder)
    print("\n".join(problems) or "within the plan")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
