#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the sources to their dependency order, by #include. Usage: check_layers.py [SOURCE_TREE]

Rules: a folder of src/ includes only the folders it may; a model family includes no other family, and what families
share includes no family; a third-party library is included only where it is at home; nothing includes libtorch's
umbrella headers; include/t2v/ is free of everything but the standard library; every file of ours has one SPDX line;
src/README.md lists the folders in this order.
"""
import pathlib
import re
import sys

# In dependency order: a folder, and the folders it may include besides itself and include/t2v/.
FOLDERS = {
    "core": [],
    "io": ["core"],
    "text": ["core", "io"],
    "media": ["core", "io"],
    "tensor": ["core", "io"],
    "nn": ["core", "io", "tensor"],
    "sampling": ["core", "io", "tensor"],
    "engine": ["core", "io", "media", "tensor", "sampling"],
    "models": ["core", "io", "text", "media", "tensor", "nn", "sampling", "engine"],
    "cuda": ["core", "tensor", "engine"],
    "cli": ["core", "io"],
    "commands": ["core", "io", "text", "media", "tensor", "nn", "sampling", "engine", "models", "cli"],
}
TORCH = ["tensor", "nn", "sampling", "engine", "models", "cuda", "commands"]
# Include pattern of a library, and where it is at home.
THIRD_PARTY = {
    r"(ATen|c10|torch|caffe2)/": TORCH,
    r"(ATen|c10)/cuda/|cuda(_\w+)?\.h|cuda_runtime(_api)?\.h|cub[a-z]*[/_]|thrust/|nvtx": ["cuda"],
    r"lib(av\w+|sw\w+)/": ["media"],
    r"CLI/": ["cli", "commands"],
    r"spdlog/": ["core"],
    r"utf8proc": ["io", "text"],
    r"nlohmann/": ["io", "cli", "commands"],
    r"stb_": ["io", "media"],
    r"hwy/": ["media", "nn"],
}
UMBRELLAS = r"torch/(torch|all|types|script|extension)\.h|ATen/(ATen|Functions|NativeFunctions)\.h"
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)
SUFFIXES = {".hpp", ".cpp", ".cu", ".cuh", ".h", ".in"}


def includes(path):
    text = path.read_text(encoding="utf-8")
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1) or match.group(2), match.group(1) is not None


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file()) if folder.is_dir() else []


def families(models):
    """A family is a folder of src/models with a family.hpp; the other folders are parts that families share."""
    return {p.parent.name for p in models.glob("*/family.hpp")}


def check_file(path, folder, family_names, report):
    own = path.relative_to(path.parents[[p.name for p in path.parents].index(folder)]).parts[0]
    for line, name, quoted in includes(path):
        where = f"{path}:{line}"
        top = name.split("/")[0]
        if quoted and top in FOLDERS and top != folder and top not in FOLDERS[folder]:
            report(f"{where}: {folder} must not include {name}: it may use {', '.join(FOLDERS[folder]) or 'nothing'}")
        if quoted and top == "models" and folder == "models":
            other = name.split("/")[1]
            if other in family_names and other != own and path.name != "registry.cpp":
                report(f"{where}: models/{own} must not include {name}: {other} is a family of its own")
        for pattern, homes in THIRD_PARTY.items():
            if re.match(pattern, name) and folder not in homes:
                report(f"{where}: <{name}> belongs in {', '.join(homes)}, not in {folder}")
        if quoted and top not in FOLDERS and top != "t2v":
            report(f'{where}: "{name}" is no folder of ours: quotes are for src/ and include/t2v/, by their full path')


def check_everywhere(path, report):
    for line, name, _ in includes(path):
        if re.fullmatch(UMBRELLAS, name):
            report(f"{path}:{line}: <{name}> costs every file 10 s and more: include <ATen/ops/NAME.h>")
    count = path.read_text(encoding="utf-8").count("SPDX-" + "License-Identifier:")
    if count != 1:
        report(f"{path}: wanted one SPDX line, got {count}")


def check_public(path, report):
    text = path.read_text(encoding="utf-8")
    for line, name, quoted in includes(path):
        if not (quoted and name.startswith("t2v/")) and not re.fullmatch(r"[a-z_0-9]+", name):
            report(f"{path}:{line}: a public header must not include {name}")
    if re.search(r"\b(at|c10|torch)::", text):
        report(f"{path}: a public header must not mention libtorch's types")


def check_map(readme, report):
    """Folders named first in the list items or table rows of src/README.md, in order of appearance."""
    named = []
    for match in re.finditer(r"^\s*(?:[-*|]|\d+\.)\s*\**`(?:src/)?([a-z]+)/?`", readme.read_text(encoding="utf-8"), re.M):
        if match.group(1) in FOLDERS and match.group(1) not in named:
            named.append(match.group(1))
    if named != list(FOLDERS):
        report(f"{readme}: wanted the folders in dependency order {', '.join(FOLDERS)}, got {', '.join(named) or 'none'}")


def check_tree(root):
    problems = []
    report = problems.append
    src = root / "src"
    for folder in sorted(p.name for p in src.iterdir() if p.is_dir()):
        if folder not in FOLDERS:
            report(f"{src / folder}: this folder is not in scripts/check_layers.py: say there what it may include")
            continue
        family_names = families(src / "models")
        for path in sources(src / folder):
            check_file(path, folder, family_names, report)
    for path in sources(src) + sources(root / "tests") + sources(root / "include"):
        check_everywhere(path, report)
    for path in sources(root / "include"):
        check_public(path, report)
    if (src / "README.md").exists():
        check_map(src / "README.md", report)
    return problems


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    problems = check_tree(root)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(f"layers: {len(problems)} problems")
    print("layers: in order")


if __name__ == "__main__":
    main()
