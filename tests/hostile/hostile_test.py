#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs t2v over hostile files: hostile_test.py PROGRAM MAKE_CHECKPOINT FOLDER [WORD...]

Each case is a file or a checkpoint folder, made by cases.py, and what the program must say about it: a documented exit
code, one error line with the words that name the trouble, nothing on standard output, under 1 s of processor time and
200 MB of memory, and no file read that is not the model's. WORDs choose cases by their names.
"""
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time

import cases

MAX_CPU_SECONDS = 1.0
MAX_RSS_KB = 200_000
HANG_SECONDS = 60  # of the clock: generous, because other tests share the machine

program, make_checkpoint = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
folder = pathlib.Path(sys.argv[3])
words = sys.argv[4:]


def run(arguments):
    """Exit code, standard output, standard error, processor seconds, peak memory in kB."""
    before = time.monotonic()
    with open(".out", "wb") as out, open(".err", "wb") as err:
        child = subprocess.Popen([program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    timer = subprocess.Popen(["sh", "-c", f"sleep {HANG_SECONDS}; kill -9 {child.pid}"], start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _, status, usage = os.wait4(child.pid, 0)
        out, err = (pathlib.Path(name).read_bytes() for name in (".out", ".err"))
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        os.killpg(timer.pid, 9)
        timer.wait()
    if time.monotonic() - before > HANG_SECONDS:
        return "hang", out, err, usage.ru_utime + usage.ru_stime, usage.ru_maxrss
    return child.returncode, out, err, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def problems_of(case, result):
    code, out, err, cpu, rss = result
    text = err.decode("utf-8", "replace")
    lines = text.splitlines()
    found = []
    if code not in case.codes:
        found.append(f"wanted exit code {' or '.join(map(str, case.codes))}, got {code}")
    if code != 0 and not case.is_batch:
        errors = [line for line in lines if line.startswith("t2v: error: ")]
        hints = [line for line in lines if line.startswith("hint: ")]
        if len(errors) != 1 or len(hints) > 1:
            found.append("wanted one error line and at most one hint")
        if out:
            found.append(f"standard output: {out[:80]!r}")
        found += [f"no '{word}' in the message" for word in case.words if word not in text]
    found += [f"the message shows '{word}'" for word in case.secrets if word in text]
    if len(text) > 5000:
        found.append(f"{len(text)} characters of message")
    if cpu > MAX_CPU_SECONDS:
        found.append(f"{cpu:.2f} s of processor time")
    if rss > case.max_rss_kb:
        found.append(f"{rss // 1000} MB of memory")
    return found


def main():
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    good = folder / "good"
    subprocess.run([make_checkpoint, good], check=True)
    os.chdir(folder)
    failed, most_cpu, most_rss, count = 0, 0, 0, 0
    for case in cases.all_cases(pathlib.Path("good"), MAX_RSS_KB):
        if words and not any(word in case.name for word in words):
            continue
        for arguments in case.commands():
            # Others use the processor too: the best of three counts.
            for _ in range(3):
                result = run(arguments)
                problems = problems_of(case, result)
                if not problems or result[0] not in case.codes:
                    break
            count += 1
            most_cpu, most_rss = max(most_cpu, result[3]), max(most_rss, result[4])
            if words:
                print(f"{case.name}: {result[0]}, {result[3]:.2f} s, {result[4] // 1000} MB: "
                      f"{result[2].decode('utf-8', 'replace').strip()}")
            if problems:
                failed += 1
                print(f"FAILED {case.name}: t2v {' '.join(map(str, arguments))[:200]}: {'; '.join(problems)}\n"
                      f"  {result[2].decode('utf-8', 'replace').strip()[:1000]}", flush=True)
        case.remove()
    print(f"{count} runs, {failed} failed; at most {most_cpu:.2f} s of processor time and {most_rss // 1000} MB")
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed or count == 0 else 0


sys.exit(main())
