# SPDX-License-Identifier: Apache-2.0
"""The scripts that measure, without torch or a GPU: stand-ins in the places of diffusers' Python, t2v and the driver's
library answer as these do. scripts_test.py SOURCE"""
import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
SCRIPTS = SOURCE / "scripts/bench"
sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPTS))
import device_memory  # noqa: E402
import random_checkpoint  # noqa: E402
import results  # noqa: E402

PEER = '''#!/usr/bin/env python3
import json, pathlib, sys
script, *words = sys.argv[1:]
if script.endswith("random_checkpoint.py"):
    family, folder = words[0], pathlib.Path(words[1])
    (folder / "motion_adapter").mkdir(parents=True) if family == "animatediff" else folder.mkdir(parents=True)
    name = {"modelscope": "TextToVideoSD", "animatediff": "StableDiffusion", "svd": "StableVideoDiffusion"}[family]
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name + "Pipeline"}))
elif len(words) == 1:
    asked = json.loads(words[0])
    print(json.dumps({"torch": "2", "diffusers": "0"}), flush=True)
    for line in sys.stdin:
        name, *more = line.split()
        far = float(asked["prompt"]) if asked["prompt"][0].isdigit() else 1e-6
        exact = name == "distance" and asked["dtype"] == "bf16" and "theirs" in more[-1]
        answers = {"unet": {"seconds": 0.5 if more == ["eager"] else 0.25}, "vae": {"seconds": 0.4}}
        answers["distance"] = {"relative_l2": 0.04 if exact else far}
        print(json.dumps(answers.get(name, {})), flush=True)
'''
T2V = '''#!/usr/bin/env python3
import json, pathlib, sys
with open(pathlib.Path(sys.argv[0]).parent / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "bench":
    row = {"median_seconds": 0.1, "gflop": 3.0, "share_of_gemm": 0.5}
    line = {"part": "unet", "operation": "conv", "calls": 2, "seconds": 0.05, "share_of_time": 0.6, "share_of_gemm": 0.7,
            "share_of_copy": 0.2}
    print(json.dumps({"rows": [dict(row, part=part) for part in ("unet", "vae")], "profile": [line]}))
'''


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Driver:
    """NVML's functions; the memory in use follows a list."""

    def __init__(self, used, status=0):
        self.used, self.status = list(used), status

    def nvmlInit_v2(self):
        return self.status

    def nvmlDeviceGetHandleByIndex_v2(self, index, device):
        return 0

    def nvmlSystemGetDriverVersion(self, text, length):
        text.value = b"575.1"
        return 0

    def nvmlDeviceGetMemoryInfo(self, device, memory):
        memory._obj.used = self.used.pop(0) if len(self.used) > 1 else self.used[0]
        return 0


class DeviceMemory(unittest.TestCase):
    def test_the_peak_is_what_was_used_beyond_what_was_before(self):
        driver = device_memory.Driver(Driver([5 << 30, 6 << 30, 9 << 30, 7 << 30]))
        with device_memory.PeakMemory(driver, seconds_between=0.001) as peak:
            while len(driver.nvml.used) > 1:
                pass
        self.assertEqual(peak.bytes, 4 << 30)
        self.assertEqual(driver.version(), "575.1")

    def test_a_driver_that_fails_is_an_error_that_names_the_call(self):
        with self.assertRaisesRegex(RuntimeError, "nvmlInit_v2: status 9"):
            device_memory.Driver(Driver([0], status=9))

    def test_its_struct_is_that_of_nvml_h(self):
        self.assertEqual(ctypes.sizeof(device_memory.Memory), 24)


class Results(unittest.TestCase):
    def test_a_section_measured_again_takes_the_place_of_the_old_one(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "RESULTS.md")
            for section in ("## a\n1\n", "## b\n2\n", "## a\n3 \\1\n"):
                results.store(path, section)
            self.assertEqual(path.read_text(), "# Measured against diffusers\n\n## a\n3 \\1\n\n## b\n2\n")

    def test_a_table_has_a_line_below_its_head(self):
        self.assertEqual(results.table(["a", "b"], [["1", "2"]]), ["| a | b |", "| --- | --- |", "| 1 | 2 |"])


class RandomCheckpoint(unittest.TestCase):
    def test_every_family_has_its_parts_in_both_sizes(self):
        for family, parts_of in random_checkpoint.FAMILIES.items():
            for tiny in (False, True):
                _, parts = parts_of(tiny)
                with self.subTest(family=family, tiny=tiny):
                    self.assertTrue({"unet", "vae", "scheduler"} <= set(parts))
                    levels = parts["unet"][1]["block_out_channels"]
                    self.assertEqual(len(levels), len(parts["unet"][1]["down_block_types"]))
                    if tiny:
                        self.assertEqual(levels, [32, 64])

    def test_clips_vocabulary_follows_from_its_merges(self):
        with tempfile.TemporaryDirectory() as folder:
            random_checkpoint.write_tokenizer(pathlib.Path(folder), "clip-tokenizer")
            words = json.loads(pathlib.Path(folder, "vocab.json").read_text())
        self.assertEqual(len(words), 49408)
        # ids of OpenAI's vocab.json
        self.assertEqual([words[w] for w in ("!", "in", "a</w>", "red</w>", "<|startoftext|>", "<|endoftext|>")],
                         [0, 512, 320, 736, 49406, 49407])


class Compare(unittest.TestCase):
    def setUp(self):
        keep = tempfile.TemporaryDirectory()
        self.addCleanup(keep.cleanup)
        self.folder = pathlib.Path(keep.name)
        self.peer = program(self.folder / "peer", PEER)
        self.t2v = program(self.folder / "build/t2v", T2V)

    def call(self, script, *words):
        return subprocess.run([sys.executable, str(script), "--peer-python", str(self.peer), *map(str, words)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def compare(self, *words, family="modelscope"):
        model = self.folder / family
        if not model.exists():
            subprocess.run([str(self.peer), "random_checkpoint.py", family, str(model)], check=True)
        return self.call(SOURCE / "scripts/bench-compare", "--t2v", self.t2v, "--model", model, "--rounds", 3, *words)

    def our_calls(self):
        return [json.loads(line) for line in (self.folder / "build/calls").read_text().splitlines()]

    def test_ratios_are_the_peers_time_over_ours(self):
        done = self.compare("--peer-mode", "both", "--frames", 4)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| UNet step | 500 ms | 100 ms | **5.00** |", done.stdout)
        self.assertIn("| UNet step against `torch.compile` | 250 ms | 100 ms | **2.50** |", done.stdout)
        self.assertIn("| VAE decode, a frame | 100 ms | 100 ms | **1.00** |", done.stdout)

    def test_latents_that_differ_void_the_row(self):
        done = self.compare("--prompt", "0.5")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing to compare: wanted at most 0.001", done.stderr)
        self.assertNotIn("ratio |", done.stdout)

    def test_in_bf16_they_may_be_as_far_from_fp32_as_the_peers(self):
        for ours, code in (("0.045", 0), ("0.06", 1)):
            with self.subTest(ours=ours):
                done = self.compare("--prompt", ours, "--dtype", "bf16")
                self.assertEqual(done.returncode, code, done.stderr)

    def test_each_family_is_told_what_it_begins_with(self):
        for family, words, flag in (("svd", (), "--image"), ("animatediff", ("--motion-module", "m"), "--motion-module")):
            done = self.compare("--parts", "unet", *words, family=family)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(flag, self.our_calls()[-1])
        self.assertNotIn("--prompt", self.our_calls()[0])

    def test_pictures_do_not_move_by_themselves(self):
        done = self.compare(family="animatediff")
        self.assertIn("--motion-module makes them move", done.stderr)

    def test_the_rows_of_a_gpu_can_be_rehearsed(self):
        program(self.folder / "build/tests/bench/kernels_bench", "#!/bin/sh\necho '| kernel |'\n")
        work = self.folder / "work"
        done = self.call(SCRIPTS / "gpu-rows", "--build", self.folder / "build", "--work", work, "--rehearse")
        self.assertEqual(done.returncode, 0, done.stderr)
        text = (work / "RESULTS.md").read_text()
        for row in ("G1 ModelScope", "G2 ZeroScope", "G3 AnimateDiff", "G4 Stable Video Diffusion"):
            self.assertIn(f"## {row}: 4 frames of 64x64, 2 steps", text)
            self.assertIn(f"## {row}: where t2v's time goes", text)
        self.assertIn("| kernel |", text)
        self.assertTrue(all("cuda" not in call for call in self.our_calls()))

    def test_a_row_that_fails_leaves_the_others(self):
        program(self.folder / "build/tests/bench/kernels_bench", "#!/bin/sh\nexit 1\n")
        work = self.folder / "work"
        done = self.call(SCRIPTS / "gpu-rows", "--build", self.folder / "build", "--work", work, "--rehearse", "--rows",
                         "kernels,G1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("## G1 ModelScope", (work / "RESULTS.md").read_text())


class Python(unittest.TestCase):
    def test_every_script_is_python(self):
        for path in [*SCRIPTS.iterdir(), SOURCE / "scripts/bench-compare"]:
            if path.is_file():
                compile(path.read_text(), str(path), "exec")


if __name__ == "__main__":
    unittest.main()
