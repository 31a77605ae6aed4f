# SPDX-License-Identifier: Apache-2.0
"""Small files written by the reference libraries, and what they hold (expected.json), for tests/io."""

import collections
import io
import json
import pathlib
import sys

import numpy
import PIL
import torch
import safetensors
from PIL import Image, ImageOps
from safetensors.torch import save_file


class Evil:
    """What an attacker would put into a pickle; reading it must run nothing."""

    def __reduce__(self):
        import os

        return (os.system, ("touch /tmp/t2v-pickle-was-executed",))


def tensors():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    return collections.OrderedDict(
        weight=base.clone(),
        half=base.half(),
        bf16=base.bfloat16(),
        long=torch.arange(5),
        bool=torch.tensor([True, False, True]),
        scalar=torch.tensor(1.5),
        empty=torch.zeros(2, 0),
        transposed=base.t(),
        window=base[1:3, 2:5],
        every_second=base.reshape(-1)[1::2],
    )


def describe(named):
    """name -> [dtype, shape, values]; values as Python numbers in row-major order."""
    return {
        name: [str(t.dtype).split(".")[1], list(t.shape), t.detach().to(torch.float64).reshape(-1).tolist()]
        for name, t in named.items()
    }


def torch_files(out, expected):
    plain = tensors()
    shared = {"first": plain["weight"], "second": plain["weight"], "row": plain["weight"][2]}
    nested = {"state_dict": {"unet": {"conv": {"weight": torch.ones(2, 3)}}, "vae.bias": torch.zeros(2)}, "epoch": 3}
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / 4)
    cases = {
        "zip": (plain, dict(), describe(plain)),
        "legacy": (plain, dict(_use_new_zipfile_serialization=False), describe(plain)),
        "protocol4": (plain, dict(pickle_protocol=4), describe(plain)),
        "shared": (shared, dict(), describe(shared)),
        "shared_legacy": (shared, dict(_use_new_zipfile_serialization=False), describe(shared)),
        "nested": (nested, dict(), {"unet.conv.weight": describe(nested["state_dict"]["unet"]["conv"])["weight"],
                                    "vae.bias": describe({"b": nested["state_dict"]["vae.bias"]})["b"]}),
        "module": (module.state_dict(), dict(), describe(module.state_dict())),
        "parameters": (dict(module.named_parameters()), dict(), describe(dict(module.named_parameters()))),
        "float8": ({"w": torch.tensor([1.0, 2.0, -0.5]).to(torch.float8_e4m3fn)}, dict(), {"w": ["float8_e4m3fn", [3], None]}),
        "single": (torch.arange(3.0), dict(), describe({"tensor": torch.arange(3.0)})),
        "evil": ({"x": Evil(), "weight": torch.ones(2), "n": numpy.float64(3.0)}, dict(), describe({"weight": torch.ones(2)})),
        "list": ([torch.ones(1), {"a": torch.zeros(1)}], dict(), describe({"0": torch.ones(1), "1.a": torch.zeros(1)})),
    }
    for name, (value, options, described) in cases.items():
        torch.save(value, out / f"{name}.pth", **options)
        expected[f"{name}.pth"] = described


def safetensors_files(out, expected):
    dtypes = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
              "int64", "int32", "int16", "int8", "uint8", "bool"]
    every = {d: torch.tensor([[0.0, 1.0], [2.0, 1.0]]).to(getattr(torch, d)) for d in dtypes}
    every["scalar"] = torch.tensor(2.5)
    every["empty"] = torch.zeros(3, 0, 2)
    save_file(every, out / "dtypes.safetensors", metadata={"format": "pt", "note": "ä \"quoted\""})
    expected["dtypes.safetensors"] = {
        k: [str(v.dtype).split(".")[1], list(v.shape), v.to(torch.float64).reshape(-1).tolist()] for k, v in every.items()}


def shards(out, expected):
    folder = out / "sharded"
    folder.mkdir(exist_ok=True)
    parts = [{"a": torch.arange(3.0)}, {"b": torch.ones(2, 2), "c": torch.zeros(1)}]
    weight_map = {}
    for i, part in enumerate(parts, 1):
        name = f"diffusion_pytorch_model-0000{i}-of-00002.safetensors"
        save_file(part, folder / name)
        weight_map |= {k: name for k in part}
    index = {"metadata": {"total_size": 32}, "weight_map": weight_map}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    expected["sharded"] = describe(parts[0] | parts[1])


def rgb_of(image):
    image = ImageOps.exif_transpose(image).convert("RGB")  # diffusers.utils.load_image
    return [image.width, image.height, list(image.tobytes())]


def images(out, expected):
    y, x = numpy.mgrid[0:5, 0:7]
    rgb = numpy.stack([x * 36, y * 60, 255 - x * 20 - y * 10], -1).astype(numpy.uint8)
    alpha = numpy.concatenate([rgb, (x * 30)[..., None].astype(numpy.uint8)], -1)
    gray = (x * 30).astype(numpy.uint8)
    made = {"rgb.png": (Image.fromarray(rgb), {}), "alpha.png": (Image.fromarray(alpha), {}), "gray.png": (Image.fromarray(gray), {}),
            "palette.png": (Image.fromarray(rgb).convert("P", palette=Image.ADAPTIVE, colors=8), {}),
            "one_bit.png": (Image.fromarray((x + y) % 2 == 0), {})}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        made[f"exif{orientation}.png"] = (Image.fromarray(rgb), {"exif": exif})
    for name, (image, options) in made.items():
        image.save(out / name, **options)
        expected[name] = rgb_of(Image.open(out / name))
    # 16 x 16 of one slope, so that chroma upsampling of different decoders agrees within the test's tolerance
    y, x = numpy.mgrid[0:16, 0:24]
    smooth = numpy.stack([x * 8, y * 8, 128 + x * 2], -1).astype(numpy.uint8)
    for name, orientation in {"plain.jpg": 1, "turned.jpg": 6}.items():
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(smooth).save(out / name, quality=95, exif=exif)
        expected[name] = rgb_of(Image.open(out / name))


def main(out_dir):
    out = pathlib.Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    expected = {}
    torch_files(out, expected)
    safetensors_files(out, expected)
    shards(out, expected)
    images(out, expected)
    expected["versions"] = {"torch": torch.__version__, "safetensors": safetensors.__version__, "pillow": PIL.__version__,
                            "numpy": numpy.__version__}
    (out / "expected.json").write_text(json.dumps(expected, separators=(",", ":")))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/io")
