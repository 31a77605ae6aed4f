#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the instructions of small fixed runs with the counts kept beside this file; more than 3 % more is a failure.

usage: instruction_counts.py PROGRAM COMPILER BUILD_TYPE SANITIZERS [--update]

valgrind shows every machine the same processor (AVX2, no AVX-512), so with one thread the counts belong to the code and its
compiler, not to the machine. Counts of another compiler mean nothing: there the test is skipped (77).
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

LIMIT = 0.03
KEPT = pathlib.Path(__file__).with_suffix(".json")
RUNS = ("unet", "vae", "colour")


def count(program, run):
    result = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
                             "--toggle-collect=*counted_region*", program, run],
                            capture_output=True, text=True, env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"})
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or not found:
        raise SystemExit(f"{run}: valgrind says\n{result.stderr[-2000:]}")
    return int(found[1])


def main(program, compiler, build_type, sanitizers, *more):
    # GNU-12.2.0 -> GNU-12: code of patch releases is the same
    compiler = compiler.split(".")[0]
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    reason = ("no valgrind on this machine" if not shutil.which("valgrind")
              else "sanitizers count instructions of their own" if sanitizers
              else "counts are of Release builds" if build_type != "Release"
              else "no AVX2 on this machine" if " avx2 " not in pathlib.Path("/proc/cpuinfo").read_text()
              else f"counts were taken with {kept.get('compiler')}, this is {compiler}"
              if compiler != kept.get("compiler") and not more else "")
    if reason:
        print(f"skipped: {reason}")
        return 77
    counts = {run: count(program, run) for run in RUNS}
    if more:
        KEPT.write_text(json.dumps({"compiler": compiler, "instructions": counts}, indent=2) + "\n")
    status = 0
    for run, now in counts.items():
        before = kept.get("instructions", counts)[run]
        change = now / before - 1
        print(f"{run:8} {now:14,} instructions, {100 * change:+.2f} %")
        if change > LIMIT and not more:
            status = 1
    if status:
        print(f"more than {100 * LIMIT:.0f} % more than {KEPT.name} says. If that is meant, run this with --update.")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
