#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs t2v over hostile files: hostile_test.py [--at-any-cost] PROGRAM MAKE_CHECKPOINT START_SERVER FOLDER [WORD...]

Each case is a file or a checkpoint folder, made by cases.py, and what the program must say about it: a documented exit
code, one error line with the words that name the trouble, nothing on standard output, under 1 s of processor time and
200 MB of memory, and no file read that is not the model's. WORDs choose cases by their names.

Opening libtorch is most of what a refusal takes, so the program's main() runs in forks of a process that has opened it
(start_server.cpp); what a start takes more is measured and counted to every run. Where the machine or its libtorch make
the plan of a good model expensive, 160 MB and 0.3 s elsewhere, the limits go up with it. --at-any-cost: without limits,
for builds with sanitizers.
"""
import os
import pathlib
import resource
import shutil
import struct
import subprocess
import sys
import time
import traceback

import cases

MAX_CPU_SECONDS, GOOD_RUNS = 1.0, 3
MAX_RSS_KB, ROOM_KB = 200_000, 40_000
HANG_SECONDS = 60  # of the clock: generous, because other tests share the machine
SHOWN = 40  # failures that are shown in full

limited = "--at-any-cost" not in sys.argv
operands = [word for word in sys.argv[1:] if word != "--at-any-cost"]
program, make_checkpoint, start_server = map(os.path.abspath, operands[:3])
folder = pathlib.Path(operands[3])
words = operands[4:]
environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
if not limited:  # the server is loaded before the sanitizer, which it leaves alone
    environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"


class Result:
    def __init__(self, status, cpu, rss_kb):
        self.code = os.waitstatus_to_exitcode(status)
        self.cpu, self.rss_kb = cpu, rss_kb
        self.out, self.err = (pathlib.Path(name).read_bytes() for name in (".out", ".err"))
        self.text = self.err.decode("utf-8", "replace")

    def __str__(self):
        return f"exit code {self.code}, {self.cpu:.2f} s of processor time, {self.rss_kb // 1000} MB"


def run_alone(arguments):
    """As a shell would start it."""
    with open(".out", "wb") as out, open(".err", "wb") as err:
        child = subprocess.Popen([program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return Result(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


class Server:
    """Runs command lines in forks of a program that has opened its libraries."""

    def __init__(self):
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         env={**environment, "LD_PRELOAD": start_server})
        plain, forked = self._least(run_alone), self._least(self._run)
        self.good_cpu, self.good_rss_kb = plain.cpu, plain.rss_kb
        self._more_cpu, self._more_kb = max(0, plain.cpu - forked.cpu), max(0, plain.rss_kb - forked.rss_kb)
        self.max_cpu = max(MAX_CPU_SECONDS, GOOD_RUNS * plain.cpu)
        self.max_rss_kb = max(MAX_RSS_KB, plain.rss_kb + ROOM_KB)

    @staticmethod
    def _least(run):
        command = ["--dry-run", "-p", "x", "-o", "out.mp4", "-m", "good"]
        results = [run(command) for _ in range(4)]  # the first may read the libraries from the disk
        assert all(result.code == 0 for result in results), f"{run.__name__}: {results[0]}: {results[0].text}"
        return min(results, key=lambda result: result.cpu)

    def _run(self, arguments):
        request = [".out", ".err", HANG_SECONDS, *arguments]
        text = b"".join(os.fsencode(str(word)) + b"\0" for word in request)
        self._process.stdin.write(struct.pack("=I", len(text)) + text)
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        assert len(answer) == 3, f"the program with {start_server} ended: {self._process.wait()}"
        return Result(int(answer[0]), int(answer[1]) / 1e6, int(answer[2]))

    def run(self, arguments):
        result = self._run(arguments)
        result.cpu += self._more_cpu
        result.rss_kb += self._more_kb
        return result

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def problems_of(case, result, max_cpu, max_rss_kb):
    code, out, text = result.code, result.out, result.text
    lines = text.splitlines()
    found = []
    if code not in case.codes:
        what = f"a signal after {HANG_SECONDS} s" if code == -14 else code
        found.append(f"wanted exit code {' or '.join(map(str, case.codes))}, got {what}")
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
    if limited and result.cpu > max_cpu:
        found.append(f"{result.cpu:.2f} s of processor time, wanted at most {max_cpu:.2f}")
    if limited and result.rss_kb > max_rss_kb:
        found.append(f"{result.rss_kb // 1000} MB of memory, wanted at most {max_rss_kb // 1000}")
    return found


class Report:
    def __init__(self):
        self.runs, self.failed, self.most_cpu, self.most_rss_kb = 0, [], 0, 0

    def add(self, case, arguments, result, problems):
        self.runs += 1
        self.most_cpu, self.most_rss_kb = max(self.most_cpu, result.cpu), max(self.most_rss_kb, result.rss_kb)
        if words:
            print(f"{case.name}: {result}: {result.text.strip()}")
        if problems:
            self.fail(case, f"t2v {' '.join(map(str, arguments))[:200]}: {'; '.join(problems)}\n"
                            f"  {result}\n  {result.text.strip()[:1000]}")

    def fail(self, case, why):
        self.failed.append(case.name)
        if len(self.failed) <= SHOWN:
            print(f"FAILED {case.name}: {why}", flush=True)


def try_case(case, server, report):
    for number, arguments in enumerate(case.commands()):
        # Others use the processor too: the best of three counts.
        for _ in range(3):
            result = server.run(arguments)
            problems = problems_of(case, result, server.max_cpu, server.max_rss_kb)
            if not problems or result.code not in case.codes:
                break
        report.add(case, arguments, result, problems)
        # The forked program is the program: now and then its answer is held against that of a plain start.
        if number == 0 and report.runs % 16 == 0 and not problems:
            alone = run_alone(arguments)
            if (alone.code, alone.text) != (result.code, result.text):
                report.fail(case, f"alone: {alone}\n  {alone.text.strip()[:1000]}\nforked: {result}\n  {result.text.strip()[:1000]}")


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    good = folder / "good"
    subprocess.run([make_checkpoint, good], check=True)
    os.chdir(folder)
    began = time.monotonic()
    server, report = Server(), Report()
    good_run = f"the plan of a good model takes {server.good_cpu:.2f} s of processor time and {server.good_rss_kb // 1000} MB"
    print(f"{good_run}; allowed are {server.max_cpu:.2f} s and {server.max_rss_kb // 1000} MB", flush=True)
    for case in cases.all_cases(pathlib.Path("good")):
        if words and not any(word in case.name for word in words):
            continue
        try:
            try_case(case, server, report)
            case.remove()
        except OSError:  # the file system does not take what the case needs: nobody may think that it was tried
            report.fail(case, traceback.format_exc())
    server.close()
    os.chdir("/")
    shutil.rmtree(folder, ignore_errors=True)
    print("".join(f"{note}\n" for note in cases.notes), end="")
    print(f"{report.runs} runs in {time.monotonic() - began:.0f} s; at most {report.most_cpu:.2f} s of processor time and "
          f"{report.most_rss_kb // 1000} MB; {good_run}")
    print(f"{len(report.failed)} failed: {' '.join(sorted(set(report.failed)))}" if report.failed else "all as they should be")
    return 1 if report.failed or report.runs == 0 else 0


sys.exit(main())
