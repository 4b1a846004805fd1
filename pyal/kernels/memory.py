"""What kernels work in: scratch, and whether there is room for what a call needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pyal.arrays import empty


def room(bytes_needed: int, device: str, what: str) -> None:
    """Raises MemoryError where `device` has no room for `what`, before anything of it is allocated.

    A system that allocates on trust would otherwise end the process once the memory is touched.

    >>> room(1024, "cpu", "a kilobyte")
    """
    available = _available_bytes(device)
    if available is not None and bytes_needed > available:
        raise MemoryError(
            f"{what} needs {bytes_needed / 1e9:.3g} GB of memory on {device}; {available / 1e9:.3g} GB are available"
        )


def _available_bytes(device: str) -> int | None:
    """What can still be allocated on a device; None where the system does not say."""
    if device != "cpu":
        import torch

        free = torch.cuda.mem_get_info(device)[0]
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    known = [size for size in (_host_bytes(), _cgroup_bytes()) if size is not None]
    return min(known) if known else None


def _host_bytes() -> int | None:
    """Free memory and caches that the kernel would give up; all memory where that is not told apart."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _cgroup_bytes() -> int | None:
    """What the limit of a container leaves, without its caches."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = Path("/sys/fs/cgroup")
        try:
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            stat = (folder / used).with_name("memory.stat").read_text().splitlines()
        except (OSError, ValueError):  # not of this version, or "max"
            continue
        return left + sum(int(line.split()[1]) for line in stat if line.startswith(("inactive_file ", "active_file ")))
    return None


class Scratch:
    """Memory that a kernel works in. Given to call after call, it is found as the last one left it."""

    memory: Any = None

    def of(self, size: int, device: str) -> Any:
        if self.memory is None or len(self.memory) != size:
            self.memory = empty((size,), "uint8", device)
        return self.memory
