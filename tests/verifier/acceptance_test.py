# SPDX-License-Identifier: Apache-2.0
"""Fixed prompts through the built t2v to MP4, judged by verify_videos: what the embedded model promises, it keeps.

    acceptance_test.py T2V VERIFY_VIDEOS MODEL PROMPTS.json

PROMPTS.json holds the prompts, the seeds, and for each attribute how many of the videos have to be right: the floors lie
under the measured result by the width of its confidence interval, because thread counts and kernels move single clips.
They are what must not get worse; "targets" are what the model is for, and a target that is missed is printed.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def warnings(t2v: str, model: str, prompt: str, *more: str) -> list:
    """What a dry run of a prompt warns about."""
    done = subprocess.run([t2v, "--prompt", prompt, "--model", model, "--dry-run", *more], check=True, text=True, capture_output=True)
    return [line for line in done.stderr.splitlines() if "warning" in line]


def wrong_warnings(t2v: str, model: str, plan: dict) -> int:
    """A prompt from outside the model's world gets one warning, which --quiet silences; others get none."""
    wrong = 0
    for prompt in plan["outside"]:
        said = warnings(t2v, model, prompt)
        wrong += len(said) != 1 or "it knows" not in said[0] or bool(warnings(t2v, model, prompt, "--quiet"))
        print(prompt, "->", said)
    for prompt in [*plan["prompts"], *plan["inside"]]:
        said = warnings(t2v, model, prompt)
        if said:
            print(f"no warning wanted: {prompt} -> {said}")
        wrong += bool(said)
    return wrong


def main() -> int:
    t2v, verify, model, prompts = sys.argv[1:5]
    plan = json.loads(Path(prompts).read_text())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cases = [(prompt, seed, folder / f"{k:02d}-{seed}.mp4")
                 for k, prompt in enumerate(plan["prompts"]) for seed in plan["seeds"]]
        jobs = "".join(json.dumps({"prompt": p, "seed": s, "output": str(f)}, ensure_ascii=False) + "\n"
                       for p, s, f in cases)
        (folder / "jobs.jsonl").write_text(jobs)
        subprocess.run([t2v, "batch", str(folder / "jobs.jsonl"), "--model", model, "--progress", "none"], check=True)
        listing = "".join(f"{f}\t{p}\n" for p, _, f in cases)
        done = subprocess.run([verify, "-"], input=listing, text=True, capture_output=True, check=True)
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    if len(verdicts) != len(cases):
        print(f"wanted {len(cases)} verdicts, got {len(verdicts)}: {done.stderr}")
        return 1
    for verdict in verdicts:
        print(verdict["prompt"], "->", verdict["seen"], "met", verdict["met"])
        if verdict["wanted"].get("motion") in ("grow", "shrink"):
            verdict["met"]["grow, shrink"] = verdict["met"]["motion"]
    failed = wrong_warnings(t2v, model, plan)
    for attribute, floor in plan["at_least"].items():
        asked = [v["met"][attribute] for v in verdicts if attribute in v["met"]]
        print(f"{attribute}: {sum(asked)} of {len(asked)}, wanted at least {floor}")
        failed += sum(asked) < floor
    for attribute, share in plan["targets"].items():
        asked = [v["met"][attribute] for v in verdicts if attribute in v["met"]]
        if sum(asked) < share * len(asked):
            print(f"{attribute}: the target of {share:.0%} is not met yet ({sum(asked)} of {len(asked)})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
