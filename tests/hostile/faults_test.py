#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the table of tests/README.md: faults_test.py SOURCE_TREE. Every row from 1 to 93 is there and either not
applicable, with the reason, or held by tests that exist, with a row's number in the name: its own, or that of a row with
the same answer."""
import pathlib
import re
import sys

ROWS = 93
tests = pathlib.Path(sys.argv[1]) / "tests"


def known_tests():
    """Suite.Test of every GoogleTest, other tests by name, and the text that makes the cases of hostile_files."""
    names = set()
    for file in tests.rglob("CMakeLists.txt"):
        names |= set(re.findall(r"add_test\(NAME (\w+)", file.read_text(encoding="utf-8")))
    for file in tests.rglob("*.cpp"):
        text = file.read_text(encoding="utf-8")
        names |= {f"{suite}.{test}" for suite, test in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", text, re.M)}
    return names, (tests / "hostile" / "cases.py").read_text(encoding="utf-8")


def problems():
    names, cases = known_tests()
    rows = {}
    for line in (tests / "README.md").read_text(encoding="utf-8").splitlines():
        match = re.match(r"\| (\d+) \| (.*) \| (.*) \|(.*)\|$", line)
        if match:
            row = int(match.group(1))
            if row in rows:
                yield f"row {row} appears twice"
            rows[row] = match.groups()[1:]
    yield from (f"row {row} is missing" for row in range(1, ROWS + 1) if row not in rows)
    for row, (fault, answer, held) in rows.items():
        named = re.findall(r"`([^`]+)`", held)
        if answer.startswith("not applicable: "):
            if named:
                yield f"row {row}: not applicable, and tests"
            continue
        if not named:
            yield f"row {row}: no test"
        for name in named:
            if name.startswith("hostile_files/"):
                if name.removeprefix("hostile_files/")[:6] not in cases:
                    yield f"row {row}: no case {name}"
            elif name not in names:
                yield f"row {row}: no test {name}"
        if not any(re.search(r"Row\d\d_", name) for name in named):
            yield f"row {row}: none of its tests carries a row's number"


found = list(problems())
print("\n".join(found) if found else "every row has its tests")
sys.exit(1 if found else 0)
