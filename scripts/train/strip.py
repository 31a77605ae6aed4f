# SPDX-License-Identifier: Apache-2.0
"""The picture of the model card and the README: a row of frames a prompt, as the built `t2v` makes them by default.

    python strip.py --t2v BUILD/t2v --model models/shapes-64 --to models/shapes-64/samples.png

Needs only the standard library, like evaluate.py.
"""
from __future__ import annotations

import argparse
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

PROMPTS = ("a red circle moving to the right", "a small yellow star moving up on a navy background", "一个绿色的三角形向左移动",
           "a pink heart growing on a grey background")
FRAMES = (0, 3, 6, 9, 12, 15)
GAP = 4  # white pixels around each frame


def read_png(file: Path) -> tuple:
    """(width, height, rows of RGB bytes) of an 8-bit RGB picture without interlace."""
    data, at, packed = file.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at: at + 8])
        body = data[at + 8: at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour, body[12]) == (8, 2, 0), file
        packed += body if kind == b"IDAT" else b""
        at += length + 12
    raw, stride, rows = zlib.decompress(packed), 3 * width, []
    before = bytearray(stride)
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1: (y + 1) * (stride + 1)])
        for i in range(stride):
            left, up, corner = (line[i - 3], before[i], before[i - 3]) if i >= 3 else (0, before[i], 0)
            line[i] = (line[i] + (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]) & 255
        rows.append(bytes(line))
        before = line
    return width, height, rows


def paeth(left: int, up: int, corner: int) -> int:
    return min((left, up, corner), key=lambda v: abs(left + up - corner - v))


def write_png(file: Path, width: int, rows: list) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    raw = zlib.compress(b"".join(b"\2" + bytes((a - b) & 255 for a, b in zip(row, above))
                                 for row, above in zip(rows, [bytes(3 * width)] + rows)), 9)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", raw) + chunk(b"IEND", b""))


def halved(rows: list) -> list:
    """Every four pixels become their mean."""
    out = []
    for a, b in zip(rows[::2], rows[1::2]):
        out.append(bytes((a[i] + a[i + 3] + b[i] + b[i + 3] + 2) // 4 for x in range(0, len(a), 6) for i in range(x, x + 3)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("t2v", "model", "to"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    sheet = []
    for prompt in PROMPTS:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([args.t2v, "--prompt", prompt, "--model", args.model, "--seed", str(args.seed), "--threads",
                            str(args.threads), "--progress", "none", "-o", str(Path(folder) / "%02d.png")], check=True)
            frames = [halved(read_png(file)[2]) for k, file in enumerate(sorted(Path(folder).iterdir())) if k in FRAMES]
        white = b"\xff" * (3 * GAP)
        lines = [white.join([b"", *parts, b""]) for parts in zip(*frames)]
        sheet += ([] if sheet else [b"\xff" * len(lines[0])] * GAP) + lines + [b"\xff" * len(lines[0])] * GAP
    write_png(Path(args.to), len(sheet[0]) // 3, sheet)


if __name__ == "__main__":
    main()
