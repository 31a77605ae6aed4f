# SPDX-License-Identifier: Apache-2.0
"""The cases of hostile_test.py. Names begin with the row of the table in tests/README.md."""
import json
import os
import shutil
import struct
import zipfile

TERA = 1 << 40
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n"
SECRET = "top-secret-words"
# By libav's name: a "video" with which libav would listen on a port or ask a server. The port is that of nobody.
LURES = {
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 45454 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?>\n<MPD profiles="urn:mpeg:dash:profile:isoff-main:2011" type="static"><Period>'
            '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>http://127.0.0.1:9/a.mp4'
            "</BaseURL></Representation></AdaptationSet></Period></MPD>\n",
    "concat": "ffconcat version 1.0\nfile http://127.0.0.1:9/a.mp4\n",
}
notes = []  # where this machine's file system made a case smaller than it is written


class Case:
    """`make` puts something at the path it is given; `commands` says what is run on it."""

    def __init__(self, name, make, commands, words=(), codes=(3,), secrets=(), is_batch=False):
        self.name, self.words, self.codes, self.secrets = name, words, codes, secrets
        self.is_batch = is_batch  # a line for every job, on standard output too
        self._make, self._commands = make, commands

    def commands(self):
        self.path = self.name
        self._make(self.path)
        return self._commands(self.path)

    def remove(self):
        if os.path.isdir(self.path) and not os.path.islink(self.path):
            shutil.rmtree(self.path)
        elif os.path.lexists(self.path) and not self.path.startswith("/dev"):
            os.unlink(self.path)


def write(path, *parts):
    with open(path, "wb") as file:
        for part in parts:
            file.write(part if isinstance(part, bytes) else part.encode())


def note(text):
    if text not in notes:
        notes.append(text)


def sparse(path, size, *parts):
    """A file of `size` bytes with a hole, or of the largest half, quarter, ... that the file system takes."""
    write(path, *parts)
    taken = size
    while True:
        try:
            os.truncate(path, taken)
            break
        except OSError as problem:
            if taken < 1 << 30:
                raise
            note(f"no file of {taken >> 30} GiB: {problem.strerror}")
            taken //= 2


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def torch_zip(path, pickle, data=b"\0" * 16, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/data/0", data)


# ---- single files: t2v info, --dry-run with them as parts of a run ---------------------------------------------------
def single_files():
    """name, make, words"""
    def bytes_of(*parts):
        return lambda path: write(path, *parts)

    for size in range(10):
        yield f"Row01_{size}_bytes", bytes_of(b"\x10\0\0\0\0\0\0\0{"[:size]), ()
    yield "Row02_header_of_2_to_63", bytes_of(struct.pack("<Q", 1 << 63), b"{}          "), ()
    yield "Row02_header_of_48_bits", bytes_of(struct.pack("<Q", (1 << 48) - 1), b"{}          "), ("header",)
    yield ("Row02_header_of_a_gigabyte_in_a_file_of_terabytes",
           lambda path: sparse(path, 4 * TERA, struct.pack("<Q", 1 << 30), b"{"), ("100000000",))
    yield ("Row02_header_of_zeros_in_a_file_of_terabytes",
           lambda path: sparse(path, 4 * TERA, struct.pack("<Q", 99_999_999), b"{"), ("header",))
    yield "Row03_header_past_the_end", bytes_of(struct.pack("<Q", 5000), b"{}"), ("past the end",)
    for i, header in enumerate([b"\xff\xfe{}", b"{", b"{]", b"{\"a\"", b"{\"a\":1}", b"{\"a\":[]}", b"{\"a\":null}",
                                b"{\"a\":{\"dtype\":3}}", b"{,}", b"{\"__metadata__\":{\"a\":1}}"]):
        yield f"Row04_header_{i}", bytes_of(safetensors(header)), ("header",)
    yield "Row05_key_twice", bytes_of(safetensors('{"a":%s,"a":%s}' % ((json.dumps(entry([1], [0, 4])),) * 2), b"1234")), ("twice",)
    many = ",".join('"%d":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}' % i for i in range(100_000))
    yield "Row06_overlaps", bytes_of(safetensors("{" + many + "}", b"12345678")), ("overlapping",)
    yield ("Row07_terabytes_behind_the_tensors", lambda path: sparse(path, TERA, safetensors({"a": entry([1], [0, 4])})),
           ("trailing bytes",))
    yield "Row08_cut", bytes_of(safetensors({"a": entry([100], [0, 400])}, b"x" * 300)), ("100 bytes are missing",)
    for i, shape in enumerate([[2**63 - 1, 2], [2**32, 2**32], [-1], [1.5], ["4"], [2**64], [10**30]]):
        yield f"Row09_shape_{i}", bytes_of(safetensors({"a": entry(shape, [0, 4])}, b"1234")), ("'a'",)
    yield "Row10_shape_and_offsets", bytes_of(safetensors({"weights": entry([3], [0, 4])}, b"1234")), ("'weights'",)
    yield "Row11_unknown_dtype", bytes_of(safetensors({"a": entry([1], [0, 4], "Q9")}, b"1234")), ("Q9",)
    yield "Row16_page_of_a_server", bytes_of(b"<!DOCTYPE html><html>not found</html>"), ()
    yield "Row16_lfs_pointer", bytes_of(LFS), ()
    yield "Row16_text", bytes_of(SECRET * 100), ()
    million = ",".join('"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(1_000_000))
    yield "Row17_a_million_tensors", bytes_of(safetensors("{" + million + "}")), ("100000 tensors",)
    yield "Row25_deep_header", bytes_of(safetensors('{"a":' + "[" * 1_000_000)), ("header",)
    yield "Row25_long_string", bytes_of(safetensors('{"' + "x" * 50_000_000 + '":1}')), ("header",)
    pickles = {
        "Row27_no_stop": b"\x80\x02}", "Row27_underflow": b"\x80\x02R.", "Row27_opcode": b"\x80\x02\xfe.",
        "Row27_mark": b"\x80\x02(.", "Row28_text_of_4_GB": b"\x80\x02X\xff\xff\xff\xff.",
        "Row28_bytes_of_2_to_63": b"\x80\x04\x8e" + b"\xff" * 8 + b".", "Row28_integer": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "Row29_doubling": b"\x80\x02]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b".",
        "Row29_values": b"\x80\x02" + b"]" * 3_000_000 + b".",
        "Row29_operations": b"\x80\x02" + b"N0" * 3_000_000 + b".",
        "Row29_memo": b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", i * 5) for i in range(300_000)) + b".",
        "Row29_depth": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "Row30_items_of_a_tensor": b"\x80\x02K\x01K\x02K\x03s.",
    }
    for name, pickle in pickles.items():
        yield name, (lambda path, pickle=pickle: torch_zip(path, pickle)), ("pickle" if "Row29" not in name else "",)
    yield ("Row31_compressed", lambda path: torch_zip(path, b"\x80\x02}.", b"\0" * 10_000_000, zipfile.ZIP_DEFLATED),
           ("compressed",))
    yield "Row31_cut", lambda path: write(path, b"PK\3\4" + b"\0" * 1000), ("zip",)

    def forged(path, offset, value):
        torch_zip(path, b"\x80\x02}.")
        with open(path, "r+b") as file:
            whole = file.read()
            file.seek(whole.rindex(b"PK\5\6") + offset)
            file.write(value)
    yield "Row31_entries", lambda path: forged(path, 8, b"\xff\xff\xff\xff"), ("zip",)
    yield "Row31_directory", lambda path: forged(path, 12, b"\xff\xff\xff\xff\xff\xff\xff\xff"), ("zip",)
    yield "Row33_pickle_of_something", bytes_of(b"\x80\x02}q\0." + b"\0" * 64), ()
    yield "Row39_png_of_65500_squared", bytes_of(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 65500, 65500, 8, 6, 0, 0, 0) + b"\0" * 64), ()
    yield "Row39_jpeg_of_65500_squared", bytes_of(
        b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 65500, 65500) + b"\3\1\x11\0\2\x11\0\3\x11\0" + b"\0" * 64), ()
    yield "Row39_gif_of_65500_squared", bytes_of(b"GIF89a" + struct.pack("<HH", 65500, 65500) + b"\0" * 64), ()
    yield "Row39_bitmap", bytes_of(b"BM" + b"\0" * 16 + struct.pack("<ii", 1 << 30, 1 << 30) + b"\0" * 64), ()
    for name, text in LURES.items():
        yield f"Row39_{name}_as_a_video", bytes_of(text), (f"wanted a video or a picture, got {name} (",)
    yield "Row42_zeros_of_terabytes", lambda path: sparse(path, 4 * TERA), ()
    yield "Row42_fifo", os.mkfifo, ()
    yield "Row42_link_to_itself", lambda path: os.symlink(os.path.basename(path), path), ()


def file_cases():
    for name, make, words in single_files():
        yield Case(name, make, lambda path: [["info", path]], words)
    # The same files where a run takes them; the message names the flag's file.
    chosen = {"Row01_0_bytes", "Row02_header_of_zeros_in_a_file_of_terabytes", "Row16_text", "Row29_values", "Row42_fifo",
              "Row42_zeros_of_terabytes", "Row39_png_of_65500_squared", *(f"Row39_{name}_as_a_video" for name in LURES)}
    flags = ["--init-latents", "--vae", "--unet", "--text-encoder", "--from", "--image", "--video", "--lora"]
    for name, make, _ in single_files():
        if name in chosen:
            yield Case(name + "_in_a_run", make, lambda path: [
                ["--dry-run", "-p", "x", "-o", "out.mp4", "-m", "good", flag, path] for flag in flags] + [
                ["decode", path, "-o", "out.mp4", "-m", "good"], ["compare", path, path],
                ["--dry-run", "-p", "x", "-o", "out.mp4", "-m", path]],
                codes=(3, 4), secrets=(SECRET,))
    # The longest names that a file may have, and the most: 40 bytes more for each would be 8 MB.
    for name, count in {"of_500_bytes": 15_000, "of_100_bytes": 75_000}.items():
        long_name = "lora_unet_" + "down_blocks_0_attentions_" * (19 if count == 15_000 else 3)
        header = ",".join('"%s%05d.alpha":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % (long_name, i)
                          for i in range(count))
        yield Case(f"Row17_names_{name}_as_lora", lambda path, text="{" + header + "}": write(path, safetensors(text)),
                   lambda path: [["--dry-run", "-p", "x", "-o", "out.mp4", "-m", "good", "--lora", path]])
    for device in ["/dev/zero", "/dev/urandom", "/dev/null", "/", "/proc/self/mem", "/dev/stdin"]:
        name = "Row42_" + (device.strip("/").replace("/", "_") or "root")
        yield Case(name, lambda path: None, lambda path, device=device: [
            ["info", device], ["--dry-run", "-p", "x", "-o", "out.mp4", "-m", device],
            ["--dry-run", "-p", "x", "-o", "out.mp4", "-m", "good", "--unet", device],
            ["--dry-run", "-p", "x", "-o", "out.mp4", "-m", "good", "--from", device],
            ["decode", device, "-o", "out.mp4", "-m", "good"], ["compare", device, device]], codes=(3, 4))
    for device in ["/dev/zero", "/dev/null"]:
        yield Case("Row38_" + device[5:] + "_as_text", lambda path: None, lambda path, device=device: [
            ["batch", device, "-o", "%d.mp4", "-m", "good"],
            ["--config", device, "-p", "x", "-o", "out.mp4", "-m", "none"],
            ["--dry-run", "--prompt-file", device, "-o", "out.mp4", "-m", "none"]], codes=(2, 3))
    jobs = {"Row25_deep_job": b'{"prompt": ' + b"[" * 500_000, "Row25_long_job": b"x" * 3_000_000,
            "Row25_long_name": b'{"' + b"x" * 900_000 + b'": 1}',
            "Row83_jobs_of_nothing": b"{}\n" * 100_001, "Row83_unknown_flags": b'{"evil": 1}\n{"prompt": 3, "steps": "x"}'}
    for name, text in jobs.items():
        yield Case(name, lambda path, text=text: write(path, text),
                   lambda path: [["batch", path, "-o", "%d.mp4", "-m", "good", "--dry-run"]], codes=(2, 3, 8), is_batch=True)


# ---- checkpoint folders ----------------------------------------------------------------------------------------------
def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError as problem:
        note(f"no hard links, files are copied: {problem.strerror}")
        shutil.copy2(source, target)


def copy_of(good, path):
    shutil.copytree(good, path, copy_function=link_or_copy)


def replace(path, content):
    if os.path.lexists(path):
        os.unlink(path)
    write(path, content)


def edited(good, file, change):
    """A copy of the good checkpoint with one JSON file changed."""
    def make(path):
        copy_of(good, path)
        full = os.path.join(path, file)
        with open(full) as old:
            config = json.load(old)
        change(config)
        replace(full, json.dumps(config))
    return make


def rewritten(good, file, content):
    def make(path):
        copy_of(good, path)
        replace(os.path.join(path, file), content)
    return make


def linked(good, file, target, content=None):
    def make(path):
        copy_of(good, path)
        full = os.path.join(path, file)
        os.unlink(full)
        if content is not None:
            write(os.path.join(path, "..", os.path.basename(target)), content)
        os.symlink(target, full)
    return make


def both(path):
    return [["info", path], ["--dry-run", "-p", "x", "-o", "out.mp4", "-m", path]]


HUGE = [10**9, 10**18, 2**63, 2**64, 10**400]
BAD_SIZES = [0, -1, 1.5, "8", [], {}, True, float("nan"), float("inf"), *HUGE]


def config_rows():
    """file, key, values that must be refused"""
    unet, vae, text = "unet/config.json", "vae/config.json", "text_encoder/config.json"
    yield unet, "block_out_channels", [[0], [-32], [10**9] * 2, [32] * 1000, [32, 33], [2**64], ["a"], [], 7, [65536] * 12, None]
    yield unet, "layers_per_block", [v for v in BAD_SIZES] + [10**6, 64]
    yield unet, "attention_head_dim", BAD_SIZES
    yield unet, "norm_num_groups", BAD_SIZES
    yield unet, "cross_attention_dim", BAD_SIZES + [65536]
    yield unet, "in_channels", BAD_SIZES + [65536]
    yield unet, "out_channels", BAD_SIZES + [65536]
    yield unet, "norm_eps", [0, -1, float("nan"), float("inf"), "x"]
    yield unet, "sample_size", [0, -8, 10**9, [8], [8, 8, 8], "8"]
    yield unet, "down_block_types", [[], ["X"], ["DownBlock3D"] * 100_000, 3]
    yield vae, "block_out_channels", [[0], [-32], [10**9] * 2, [32] * 1000, [65536] * 12]
    yield vae, "layers_per_block", [0, -1, 10**6, 64]
    yield vae, "latent_channels", [0, -1, 10**9, 65536]
    yield vae, "norm_num_groups", [0, -1, 10**9]
    yield vae, "scaling_factor", [0, -1, float("nan"), float("inf"), "x", 1e999]
    yield text, "hidden_size", [0, -1, 10**9, 65536]
    yield text, "num_attention_heads", [0, -1, 10**9, 7]
    yield text, "num_hidden_layers", [0, -1, 10**6, 256]
    yield text, "vocab_size", [0, -1, 10**12, 1 << 24]
    yield text, "max_position_embeddings", [0, -1, 10**12, 65536]
    yield text, "intermediate_size", [0, -1, 10**12, 65536]
    scheduler = "scheduler/scheduler_config.json"
    yield scheduler, "num_train_timesteps", [0, -1, 10**9, 10**18, "x"]
    yield scheduler, "beta_start", [float("nan"), -1, "x"]
    yield scheduler, "beta_schedule", ["x", 3]
    yield scheduler, "prediction_type", ["x", 3]


def folder_cases(good):
    # What is only too large for the tensors of a text encoder is found when it is loaded.
    text = "text_encoder/config.json"
    for file, key, values in config_rows():
        for i, value in enumerate(values):
            yield Case(f"Row23_{file.split('/')[0]}_{key}_{i}", edited(good, file, lambda c, k=key, v=value: c.update({k: v})),
                       lambda path: both(path)[1:], codes=(3, 4) if file != text or i < 3 else (0, 3, 4))
    index = "model_index.json"
    # `t2v info` shows what it does not know; a run refuses it.
    yield Case("Row22_no_class", edited(good, index, lambda c: c.pop("_class_name")), both)
    for i, name in enumerate(["os.system", "MyPipeline", 3, None, ["my_code", "Pipeline"], "../x", "a" * 100_000]):
        yield Case(f"Row22_class_{i}", edited(good, index, lambda c, name=name: c.update(_class_name=name)), lambda path: both(path)[1:],
                   codes=(3, 4))
    for i, value in enumerate([["evil_module", "os.system"], "x", 3, [], {}, [None, "X"], None, ["a"], [["a"], "b"]]):
        yield Case(f"Row22_component_{i}", edited(good, index, lambda c, value=value: c.update(unet=value)), both,
                   codes=(0, 3, 4))  # a class is only a name: what the weights must be follows from the pipeline
    for i, key in enumerate(["../unet", "/etc", "..", "a/b", "a\0b"]):
        yield Case(f"Row22_key_{i}", edited(good, index, lambda c, key=key: c.update({key: ["diffusers", "X"]})), both)
    for name, text in {"Row25_depth": "[" * 1_000_000, "Row25_depth_of_objects": '{"a":' * 200_000,
                       "Row25_string": '{"a":"' + "x" * 30_000_000 + '"}', "Row25_keys": "{" + ",".join('"%d":0' % i for i in range(90_000)) + "}",
                       "Row25_too_long": " " * 2_000_000, "Row25_empty": "", "Row25_nul": '{"a":1}\0', "Row25_latin": b'{"a":"\xff"}'}.items():
        for file in [index, "unet/config.json", "scheduler/scheduler_config.json"]:
            yield Case(f"{name}_in_{file.split('/')[0]}", rewritten(good, file, text), lambda path: both(path)[1:], codes=(3, 4))
    weights = "unet/diffusion_pytorch_model.safetensors"
    names = {"climb": "../../x.safetensors", "root": "/etc/passwd", "drive": "C:\\x", "nul": "a\0b", "none": "", "dots": "..",
             "long": "x" * 300, "missing": "model-1.safetensors"}
    for name, shard in names.items():
        def make(path, shard=shard):
            copy_of(good, path)
            os.unlink(os.path.join(path, weights))
            write(os.path.join(path, weights + ".index.json"), json.dumps({"weight_map": {"a": shard}}))
        yield Case(f"Row19_{name}", make, both, words=("index",), secrets=("root:",))

    def huge_index(path):
        copy_of(good, path)
        os.unlink(os.path.join(path, weights))
        write(os.path.join(path, weights + ".index.json"),
              '{"weight_map":{' + ",".join('"%d":"m.safetensors"' % i for i in range(400_000)) + "}}")
    yield Case("Row25_index_of_400000_tensors", huge_index, both)
    secret = json.dumps({"key": SECRET})
    yield Case("Row20_config_links_out", linked(good, "unet/config.json", "../../secret.json", secret), both,
               words=("a link to",), secrets=(SECRET,))
    yield Case("Row20_weights_link_out", linked(good, weights, "/etc/passwd"), both, words=("a link to",), secrets=("root:",))
    yield Case("Row20_index_links_out", linked(good, index, "/etc/passwd"), both, words=("a link to",), secrets=("root:",))
    yield Case("Row20_dead_link", linked(good, weights, "nowhere"), both)
    yield Case("Row20_link_in_a_circle", linked(good, weights, os.path.basename(weights)), both)
    for name, content in {"Row08_cut_weights": None, "Row16_lfs_weights": LFS, "Row01_empty_weights": b"",
                          "Row13_no_tensors": safetensors("{}"), "Row13_others": safetensors({"a": entry([1], [0, 4])}, b"1234")}.items():
        def make(path, content=content):
            copy_of(good, path)
            full = os.path.join(path, weights)
            with open(full, "rb") as old:
                cut = old.read()[:-1000]
            replace(full, cut if content is None else content)
        yield Case(name, make, both)
    yield Case("Row42_folder_for_weights", lambda path: (copy_of(good, path), os.unlink(os.path.join(path, weights)),
                                                        os.mkdir(os.path.join(path, weights))), both)
    yield Case("Row42_fifo_for_config", lambda path: (copy_of(good, path), os.unlink(os.path.join(path, "vae/config.json")),
                                                     os.mkfifo(os.path.join(path, "vae/config.json"))), both)
    yield Case("Row42_empty_folder", os.mkdir, both)


def all_cases(good):
    yield from file_cases()
    yield from folder_cases(good)
