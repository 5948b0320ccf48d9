"""How glibc's malloc treats large blocks while a network trains, or many maps of one are drawn."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_LARGEST = 32 * 2**20  # what glibc raises M_MMAP_THRESHOLD to by itself, and the most that older ones accept
_ASKED = (2**30, _LARGEST)  # a batch of 16 frames of 130 x 130 with 64 channels in bf16 is 33 MiB
_NEVER = 2**31 - 1


@contextmanager
def blocks_kept() -> Iterator[None]:
    """Inside, freed memory is kept for the next allocation instead of going back to the system at once.

    Activations of some 30 MiB are allocated and freed all the time in training. By default most of them go back,
    so the kernel hands out and clears the same pages again in every step. Nothing happens where the C library is not
    glibc, or refuses.

    glibc starts with 128 KiB for both thresholds and raises them as larger blocks are freed, until one of them is set:
    then never again. So afterwards they have the highest values that it would have raised them to, 32 and 64 MiB, and
    what is free goes back.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    if not any(libc.mallopt(_MMAP, size) for size in _ASKED):
        yield
        return
    libc.mallopt(_TRIM, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_MMAP, _LARGEST)
        libc.mallopt(_TRIM, 2 * _LARGEST)
        libc.malloc_trim(0)
