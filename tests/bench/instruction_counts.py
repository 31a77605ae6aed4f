#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the instructions of small fixed runs with the counts kept beside this file; more than 3 % more is a failure.

usage: instruction_counts.py PROGRAM COMPILER BUILD_TYPE SANITIZERS [--update]

valgrind shows every machine the same processor (AVX2, no AVX-512), and there is one thread, so counts belong to code, not to
machines. They are kept in two parts. "own" is what the program's own code executes, our kernels among it: it depends on the
compiler. "libraries" is what runs below it, mostly libtorch: that part is compared where libtorch and glibc are the ones it
was counted with. Counts of another compiler mean nothing: there the test is skipped (77).
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 0.03
LEAST = 5_000  # fewer instructions more are never a failure: a run may leave libraries as little as a thousand
KEPT = pathlib.Path(__file__).with_suffix(".json")
RUNS = ("unet", "vae", "colour")
# Libraries that choose code by the processor choose the same on all that have AVX2.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
               "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}


def read_dump(file):
    """Name and {object: instructions} of one callgrind dump: an object's own, without those of what it calls."""
    run, names, totals, here, skips = "", {}, {}, "?", False
    for line in file.read_text().splitlines():
        if line.startswith("desc: Trigger: Client Request: "):
            run = line.rsplit(" ", 1)[1]
        elif line.startswith("ob="):
            number, name = re.match(r"ob=\((\d+)\)(?: (.*))?", line).groups()
            here = names.setdefault(number, name)
        elif line.startswith("cob="):
            number, name = re.match(r"cob=\((\d+)\)(?: (.*))?", line).groups()
            names.setdefault(number, name)
        elif line.startswith("calls="):
            skips = True  # the next line is the cost of the call
        elif line[:1] in "0123456789+-*" and line:
            if not skips:
                totals[here] = totals.get(here, 0) + int(line.split()[-1])
            skips = False
    return run, totals


def count(program):
    """What each run executes: own instructions, those of libraries, and which libtorch that was. Nothing where the program
    was built without valgrind's headers."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        result = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--instr-atstart=no", program],
                                capture_output=True, text=True, env=ENVIRONMENT)
        if result.returncode:
            raise SystemExit(f"valgrind says\n{result.stderr[-2000:]}")
        dumps = dict(read_dump(dump) for dump in pathlib.Path(folder).glob("out.*"))
        if not dumps:
            return None
        own, libraries, torch = {}, {}, "?"
        for run in RUNS:
            totals = dumps[run]
            own[run] = sum(n for name, n in totals.items() if name == os.path.realpath(program))
            libraries[run] = sum(totals.values()) - own[run]
            torch = next((name for name in totals if "/libtorch_cpu.so" in name), torch)
        size = os.path.getsize(torch) if os.path.exists(torch) else 0
        return own, libraries, f"libtorch_cpu.so of {size} bytes, {os.confstr('CS_GNU_LIBC_VERSION')}"


def compare(part, counts, kept):
    """Prints a line a run; whether none has grown too much."""
    good = True
    for run, now in counts.items():
        change = now / kept[run] - 1 if kept.get(run) else 0.0
        print(f"{part:10} {run:8} {now:14,} instructions, {100 * change:+.2f} %")
        good = good and (change <= LIMIT or now - kept[run] < LEAST)
    return good


def main(program, compiler, build_type, sanitizers, *more):
    # GNU-12.2.0 -> GNU-12: code of patch releases is the same
    compiler = compiler.split(".")[0]
    document = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    reason = ("no valgrind on this machine (scripts/setup installs it)" if not shutil.which("valgrind")
              else "sanitizers count instructions of their own" if sanitizers
              else "counts are of Release builds" if build_type != "Release"
              else "no AVX2 on this machine" if " avx2 " not in pathlib.Path("/proc/cpuinfo").read_text()
              else f"counts are kept for {', '.join(document) or 'no compiler'}, this is {compiler}; --update adds it"
              if compiler not in document and not more else "")
    if reason:
        print(f"skipped: {reason}")
        return 77
    counts = count(program)
    if not counts:
        print("skipped: built without valgrind's headers (scripts/setup installs them with valgrind)")
        return 77
    own, libraries, key = counts
    kept = document.setdefault(compiler, {"own": {}, "libraries": {}})
    if more:
        kept["own"], kept["libraries"][key] = own, libraries
        KEPT.write_text(json.dumps(document, indent=1) + "\n")
    good = compare("own", own, kept["own"])
    if key in kept["libraries"]:
        good = compare("libraries", libraries, kept["libraries"][key]) and good
    else:
        print(f"libraries are not compared: counts are kept for {'; '.join(kept['libraries'])}; this is {key}")
    if not good:
        print(f"more than {100 * LIMIT:.0f} % more than {KEPT.name} says. If that is meant, run this with --update.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
