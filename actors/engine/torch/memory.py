"""Memory of a device."""

from __future__ import annotations

import os

import torch


def is_out_of_memory(error: Exception) -> bool:
    """torch has a class for it on a GPU, and on the CPU a sentence."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def free_memory(device: torch.device) -> int:
    """Bytes that a new allocation may take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
