#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/text/unicode_tables.inc: what the reference tokenizers answer for every code point.

Their regex engine, NFC and lower-casing follow three different Unicode versions, and none of them
is the host's utf8proc, so the classes are asked from the reference itself and stored as ranges.
Run by hand after a change of the pinned tokenizers version:

    python scripts/unicode_tables.py > src/text/unicode_tables.inc
"""
import textwrap

import regex
import tokenizers
from tokenizers import Regex, normalizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]

# Canonical compositions that Unicode added after version 9 (UnicodeData.txt 13 and 16): the code
# points that take part and have combining class 0, so the combining-class probe can't see them.
LATE_COMPOSITIONS = (
    [0x105D2, 0x105DA, 0x11382, 0x11384, 0x1138B, 0x11390, 0x113B8, 0x113BB, 0x113C2, 0x113C9]
    + [0x11930, 0x11935, 0x11938, 0x105C9, 0x105E4, 0x11383, 0x11385, 0x1138E, 0x11391]
    + [0x113C5, 0x113C7, 0x113C8] + list(range(0x1611E, 0x1612A)) + [0x16D63, 0x16D67]
    + [0x16D68, 0x16D69, 0x16D6A]
)


def members(pattern):
    """Code points that `pattern` (one character class) matches in the reference's regex engine."""
    remove = normalizers.Replace(Regex(pattern), "")
    found = []
    for i in range(0, len(CODE_POINTS), 4096):
        chunk = CODE_POINTS[i : i + 4096]
        kept = set(remove.normalize_str("".join(map(chr, chunk))))
        found += [c for c in chunk if chr(c) not in kept]
    return found


def nfc_barriers():
    """Code points that are plain starters for the reference's NFC though later Unicode reorders
    or composes them."""
    nfc = normalizers.NFC()
    marks = regex.compile(r"\p{Canonical_Combining_Class=0}")
    out = set(LATE_COMPOSITIONS)
    for c in CODE_POINTS:
        if marks.match(chr(c)):
            continue
        # A mark is carried over marks of a higher class and lets lower ones pass; a starter does
        # neither: U+0334 (class 1) and U+0345 (class 240) enclose every class.
        low, high = "\u25cc" + chr(c) + "\u0334", "\u25cc\u0345" + chr(c)
        if nfc.normalize_str(low) == low and nfc.normalize_str(high) == high:
            if regex.match(r"\p{Canonical_Combining_Class=1}|\p{Canonical_Combining_Class=240}", chr(c)):
                probe = "\u25cc\u0301" + chr(c), "\u25cc" + chr(c) + "\u0323"
                if any(nfc.normalize_str(p) != p for p in probe):
                    continue
            out.add(c)
    return sorted(out)


def ranges(code_points):
    out = []
    for c in code_points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, code_points):
    rows = ", ".join(f"{{0x{a:X}, 0x{b:X}}}" for a, b in ranges(code_points))
    lines = textwrap.wrap(rows, 96, break_long_words=False, break_on_hyphens=False)
    lines = " ".join(lines).replace("}, {", "},\x00{").split("\x00")
    body, line = [], "   "
    for cell in lines:
        if len(line) + 1 + len(cell) > 100:
            body.append(line)
            line = "   "
        line += " " + cell
    body.append(line)
    return f"constexpr CodePointRange {name}[] = {{\n" + "\n".join(body) + "};\n"


def main():
    print("// SPDX-License-Identifier: Apache-2.0")
    print("// Written by scripts/unicode_tables.py from the answers of the Python package")
    print(f"// tokenizers {tokenizers.__version__}; not edited by hand.")
    print("// clang-format off")
    print(table("kLetters", members(r"\p{L}")), end="")
    print(table("kNumbers", members(r"\p{N}")), end="")
    print(table("kNfcBarriers", nfc_barriers()), end="")
    print("// clang-format on")


if __name__ == "__main__":
    main()
