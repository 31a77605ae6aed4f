#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants one violation of each rule in a small tree and looks for its message. Usage: layers_test.py SOURCE_TREE"""
import pathlib
import sys
import tempfile

root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root / "scripts"))
sys.dont_write_bytecode = True
import check_layers  # noqa: E402

SPDX = "// SPDX-" + "License-Identifier: Apache-2.0\n"
CLEAN = {
    "include/t2v/t2v.hpp": SPDX + "#include <string>\n",
    "src/core/log.hpp": SPDX + "#include <spdlog/spdlog.h>\n",
    "src/io/file.cpp": SPDX + '#include "core/log.hpp"\n#include "t2v/t2v.hpp"\n',
    "src/models/registry.cpp": SPDX + '#include "models/one/family.hpp"\n#include "models/two/family.hpp"\n',
    "src/models/one/family.hpp": SPDX + '#include "models/vae/coder.hpp"\n#include <ATen/core/Tensor.h>\n',
    "src/models/two/family.hpp": SPDX,
    "src/models/vae/coder.hpp": SPDX + '#include "nn/conv.hpp"\n',
    "src/README.md": "".join(f"| `{name}/` | x |\n" for name in check_layers.FOLDERS),
}
# A file that replaces or joins the clean tree, and what the report must say.
PLANTED = [
    ("src/core/log.hpp", SPDX + '#include "io/file.hpp"\n', "core must not include io/file.hpp"),
    ("src/core/log.hpp", SPDX + "#  include <ATen/core/Tensor.h>\n", "belongs in tensor"),
    ("src/nn/conv.cpp", SPDX + '#include "sampling/x.hpp"\n', "nn must not include sampling/x.hpp"),
    ("src/engine/a.cpp", SPDX + '#include "models/registry.hpp"\n', "engine must not include models"),
    ("src/cli/main.cpp", SPDX + '#include "engine/a.hpp"\n', "cli must not include engine/a.hpp"),
    ("src/models/one/family.hpp", SPDX + '#include "models/two/family.hpp"\n', "two is a family of its own"),
    ("src/models/vae/coder.hpp", SPDX + '#include "models/one/x.hpp"\n', "one is a family of its own"),
    ("src/models/shared.hpp", SPDX + '#include "models/one/x.hpp"\n', "one is a family of its own"),
    ("src/io/av.cpp", SPDX + "#include <libavutil/mem.h>\n", "belongs in media"),
    ("src/models/one/a.cpp", SPDX + "#include <utf8proc.h>\n", "belongs in io, text"),
    ("src/core/a.cpp", SPDX + "#include <CLI/CLI.hpp>\n", "belongs in cli"),
    ("src/engine/a.cpp", SPDX + "#include <cuda_runtime_api.h>\n", "belongs in cuda"),
    ("src/engine/a.cpp", SPDX + "#include <c10/cuda/CUDAStream.h>\n", "belongs in cuda"),
    ("src/nn/a.cpp", SPDX + "#include <torch/torch.h>\n", "costs every file"),
    ("tests/nn/a.cpp", SPDX + "#include <ATen/ATen.h>\n", "costs every file"),
    ("src/io/file.cpp", '#include "core/log.hpp"\n', "wanted one SPDX line, got 0"),
    ("src/io/file.cpp", SPDX + '#include "file.hpp"\n', "is no folder of ours"),
    ("src/misc/a.cpp", SPDX, "this folder is not in"),
    ("include/t2v/t2v.hpp", SPDX + "#include <ATen/core/Tensor.h>\n", "must not include ATen"),
    ("include/t2v/t2v.hpp", SPDX + "at::Tensor f();\n", "must not mention libtorch"),
    ("src/README.md", "| `io/` | x |\n| `core/` | x |\n", "wanted the folders in dependency order"),
]


def problems_of(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return check_layers.check_tree(pathlib.Path(folder))


failed = []
if problems_of(CLEAN):
    failed.append(f"the clean tree is refused: {problems_of(CLEAN)}")
for name, text, message in PLANTED:
    found = problems_of(CLEAN | {name: text})
    if len(found) != 1 or message not in found[0]:
        failed.append(f"{name}: {text.splitlines()[-1]}: wanted one '{message}', got {found}")
print("\n".join(failed) or f"{len(PLANTED)} planted violations found")
sys.exit(bool(failed))
