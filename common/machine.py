"""What suits the machine that a command runs on: precision, and memory."""

from __future__ import annotations

import ctypes
import sys

import torch


def default_precision(accelerator: str) -> str:
    """Choose bf16-mixed where the hardware multiplies bf16, 16-mixed on other GPUs, 32-true on other CPUs."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        capabilities = torch.cpu.get_capabilities()
        if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"):  # twice as fast with these
            return "bf16-mixed"
    return "32-true"


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next step, instead of giving it back and fetching zeroed pages anew.

    A training step on a CPU frees and asks for the same tens of megabytes each time; see benchmarks/README.md.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        trim_threshold, mmap_max = -1, -4  # of malloc.h
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(mmap_max, 0)
