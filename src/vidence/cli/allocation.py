"""What many passes free stays with the process, so that the system need not clear the same pages for each of them."""

from __future__ import annotations

import ctypes
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h
KEPT = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Let glibc keep up to a GiB that was freed; True where it does, as other C libraries have no such setting.

    By default it gives every block above 32 MiB back at once, and the pages of the next one are cleared anew: on an
    autoencoder's passes more than a third of the time. The numbers stay the same to the bit.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all([mallopt(MMAP_THRESHOLD, KEPT), mallopt(TRIM_THRESHOLD, KEPT)])
