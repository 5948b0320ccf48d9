"""How glibc's malloc treats large blocks while a network trains."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_USUAL = 128 * 1024  # glibc's own value of both


@contextmanager
def blocks_kept() -> Iterator[None]:
    """Inside, freed memory is kept for the next allocation instead of going back to the system at once.

    Activations of a few MiB are allocated and freed all the time in training. By default each comes from `mmap` and
    goes by `munmap`, so the kernel hands out and clears the same pages again in every step. Nothing happens where the
    C library is not glibc. Afterwards both thresholds have their usual values, and free memory goes back.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP, 2**30)
    libc.mallopt(_TRIM, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP, _USUAL)
        libc.mallopt(_TRIM, _USUAL)
        libc.malloc_trim(0)
