# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA's driver says about the first GPU: its driver's version, and how much of its memory a program took at most.

The figure is the driver's, so that it is the same thing for any two programs: allocator, context, libraries. It is that of
the whole device: nothing else may run on it meanwhile.
"""
import ctypes
import threading


class Memory(ctypes.Structure):
    """nvmlMemory_t"""
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Driver:
    """`nvml`: something with NVML's functions (nvml.h). OSError where there is none, RuntimeError where it fails."""

    def __init__(self, nvml=None):
        self.nvml = nvml or ctypes.CDLL("libnvidia-ml.so.1")
        self.device = ctypes.c_void_p()
        self.call("nvmlInit_v2")
        self.call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(self.device))

    def call(self, name, *arguments):
        status = getattr(self.nvml, name)(*arguments)
        if status:
            raise RuntimeError(f"{name}: status {status}")

    def version(self):
        text = ctypes.create_string_buffer(96)
        self.call("nvmlSystemGetDriverVersion", text, len(text))
        return text.value.decode()

    def used_bytes(self):
        memory = Memory()
        self.call("nvmlDeviceGetMemoryInfo", self.device, ctypes.byref(memory))
        return memory.used


class PeakMemory:
    """with PeakMemory(driver) as peak: ...; then peak.bytes is the most that was in use beyond what was before."""

    def __init__(self, driver, seconds_between=0.02):
        self.driver, self.pause = driver, seconds_between

    def __enter__(self):
        self.before = self.most = self.driver.used_bytes()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.done.wait(self.pause):
            self.most = max(self.most, self.driver.used_bytes())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.bytes = max(self.most, self.driver.used_bytes()) - self.before
