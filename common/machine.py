"""What suits the machine that a command runs on: precision, and memory."""

from __future__ import annotations

import ctypes
import os
import sys

import torch
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

LAUNCHERS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "JSM_NAMESPACE_RANK"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
)


def act_alone(trainer: Namespace) -> None:
    """Clear what launchers have left in the environment, if the Trainer's arguments name one device.

    A process that ``srun`` started as one of several fits, or whose shell still has ``RANK`` set from another, would
    otherwise take itself for one rank of several, and leave the writing to a rank 0 that does not exist.
    """
    gpus = torch.cuda.device_count() if trainer.accelerator in ("auto", "gpu", "cuda") else 1
    devices = max(1, gpus) if trainer.devices in ("auto", -1, "-1") else trainer.devices
    one = devices in (1, "1") or (isinstance(devices, list) and len(devices) == 1)
    if one and trainer.num_nodes == 1 and trainer.strategy == "auto":
        for name in LAUNCHERS:
            os.environ.pop(name, None)
        vars(rank_zero_only)["rank"] = 0


def is_first_process() -> bool:
    """Whether this process, of several that run the same command, is the one that prints and writes."""
    # On another node where the command was typed by hand, the rank is not known until there is a Trainer.
    return getattr(rank_zero_only, "rank", 0) == 0 and os.environ.get("NODE_RANK", "0") == "0"


def default_precision(accelerator: str) -> str:
    """Choose bf16-mixed if the hardware multiplies bf16, 16-mixed on other GPUs, 32-true on other CPUs."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        capabilities = torch.cpu.get_capabilities()
        if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"):  # twice as fast with these
            return "bf16-mixed"
    return "32-true"


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step, instead of returning it and fetching zeroed pages again.

    Each training step on a CPU frees and requests the same tens of megabytes; see benchmarks/README.md.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        trim_threshold, mmap_max = -1, -4  # from malloc.h
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(mmap_max, 0)
