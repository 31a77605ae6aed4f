#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program answers at once: --help and --version within 20 ms, without libtorch or libav. Usage: start_test.py T2V"""
import os
import subprocess
import sys
import time

LIMIT = 0.020  # seconds
program = sys.argv[1]
failed = False
for argument in ["--help", "--version", "--list-samplers"]:
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        done = subprocess.run([program, argument], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds.append(time.perf_counter() - begin)
        if done.returncode != 0:
            sys.exit(f"{argument}: exit code {done.returncode}: {done.stderr.decode()}")
    # The fastest of 20: the others also measure what else the machine is doing.
    print(f"{argument}: fastest {min(seconds) * 1000:.1f} ms, median {sorted(seconds)[10] * 1000:.1f} ms")
    if min(seconds) > LIMIT:
        print(f"{argument}: wanted at most {LIMIT * 1000:.0f} ms")
        failed = True
    # The loader's own trace names every library that is opened, whether linked or by dlopen.
    trace = subprocess.run([program, argument], env=os.environ | {"LD_DEBUG": "files"}, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE).stderr.decode(errors="replace")
    if "libc.so.6" not in trace:
        print("the loader printed no trace")
        failed = True
    for library in ["libtorch", "libc10", "libt2v", "libav", "libcuda", "libcudart"]:
        if library in trace:
            print(f"{argument}: opens {library}")
            failed = True
sys.exit(failed)
