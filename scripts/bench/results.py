# SPDX-License-Identifier: Apache-2.0
"""Markdown of measurements: tables, and files made of sections that are replaced when they are measured again."""
import pathlib
import re


def table(head, rows):
    """Lines of a table; `rows` are lists of text as long as `head`."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def store(path, text):
    """Replaces the section with the same heading, or appends one."""
    path = pathlib.Path(path)
    old = path.read_text() if path.exists() else "# Measured against diffusers\n"
    heading = text.splitlines()[0]
    pattern = re.compile(re.escape(heading) + r"\n.*?(?=^## |\Z)", re.S | re.M)
    path.write_text(pattern.sub(lambda _: text + "\n", old).rstrip("\n") + "\n" if pattern.search(old)
                    else old.rstrip("\n") + "\n\n" + text)
