# SPDX-License-Identifier: Apache-2.0
"""Many jobs in one process: memory and file descriptors stay flat. soak_test.py PROGRAM CHECKPOINT FOLDER JOBS

The jobs differ in size, length, sampler and format, because it is the mix that makes holes in a heap. With two
processes on one folder, every job is done once. Prints the figures; exit 1 when memory grows.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

WARM_UP = 0.1  # of the jobs: every kind has run then, and all caches are full
GROWTH = 0.02  # of the resident memory, after warming up
GROWTH_OF_PEAKS = 0.1
SLACK = 4 << 20  # bytes: pages that the allocator keeps by chance


def write_jobs(folder, count):
    samplers = ["ddim", "dpmpp_2m", "euler_a", "unipc", "heun"]
    formats = ["mp4", "y4m", "gif", "webp", "mkv"]
    with open(folder / "jobs.jsonl", "w") as out:
        for i in range(count):
            job = {"prompt": f"job {i}", "output": str(folder / f"{i}.{formats[i % 5]}"), "seed": i, "steps": 1 + i % 2,
                   "frames": 1 + i % 3, "width": 16 + 8 * (i % 3), "height": 16 + 8 * (i // 3 % 3),
                   "sampler": samplers[i // 5 % 5]}
            out.write(json.dumps(job) + "\n")
    return folder / "jobs.jsonl"


def held_by(pid):
    """Bytes of resident memory and file descriptors; None when the process has just ended."""
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    return (pages * os.sysconf("SC_PAGESIZE"), descriptors) if pages and descriptors else None


def start(program, checkpoint, jobs):
    return subprocess.Popen([program, "batch", jobs, "-m", checkpoint, "-t", "1", "-q", "--resume"], text=True,
                            stdout=subprocess.PIPE, env=dict(os.environ, OMP_WAIT_POLICY="PASSIVE"))


def one_process(program, checkpoint, folder, count):
    began = time.monotonic()
    process = start(program, checkpoint, write_jobs(folder, count))
    samples, reported, failed = [], 0, 0
    for line in process.stdout:
        reported += 1
        failed += json.loads(line)["status"] != "done"
        samples.append(held_by(process.pid))
    code = process.wait()
    memory, descriptors = zip(*[sample for sample in samples if sample])
    warm = max(5, int(count * WARM_UP))
    first, last = memory[warm // 2:warm], memory[-warm:]
    # A line is read at some moment of the next job: the least of a window is the process at rest, which a leak lifts. What
    # two threads of a job hold at their worst depends on how busy the machine is.
    before, after = min(first), min(last)
    growth, growth_of_peaks = after - before, max(last) - max(first)
    # The next job already runs when a line is read and may hold its file: the least of a window is what stays open.
    first_open, last_open = min(descriptors[:warm]), min(descriptors[-warm:])
    print(f"{reported} jobs in {time.monotonic() - began:.0f} s: resident {before / 1e6:.1f} MB after {warm} jobs, "
          f"{after / 1e6:.1f} MB at the end ({growth / 1e6:+.1f} MB, peaks {growth_of_peaks / 1e6:+.1f} MB); file descriptors {first_open} and {last_open}")
    left = [name for name in os.listdir(folder) if name.startswith(".") or name.endswith(".claims")]
    problems = []
    if code != 0 or failed or reported != count:
        problems.append(f"exit code {code}, {failed} failed, {reported} of {count} reported")
    if growth > before * GROWTH + SLACK or growth_of_peaks > before * GROWTH_OF_PEAKS:
        problems.append("memory grows")
    if last_open > first_open:
        problems.append("file descriptors are left open")
    if left:
        problems.append(f"left behind: {left}")
    return problems


def two_processes(program, checkpoint, folder, count):
    jobs = write_jobs(folder, count)
    processes = [start(program, checkpoint, jobs) for _ in range(2)]
    # Read both at the end: a line is short, and a pipe holds all of them.
    done = []
    for process in processes:
        out, _ = process.communicate()
        done += [json.loads(line)["job"] for line in out.splitlines() if json.loads(line)["status"] == "done"]
    print(f"two processes: {len(done)} jobs done, {len(set(done))} of them different")
    if sorted(done) != list(range(1, count + 1)) or any(p.returncode for p in processes):
        return [f"wanted each of {count} jobs once, got {len(done)} done, codes {[p.returncode for p in processes]}"]
    return []


def main(program, checkpoint, folder, count):
    shutil.rmtree(folder, ignore_errors=True)
    problems = []
    for name, test, jobs in (("one", one_process, int(count)), ("two", two_processes, max(10, int(count) // 10))):
        work = pathlib.Path(folder) / name
        work.mkdir(parents=True)
        problems += test(program, checkpoint, work, jobs)
    print("\n".join(problems) or "flat")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
