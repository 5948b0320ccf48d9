"""Freed memory is kept inside, and goes back afterwards; numbers stay the same."""

import platform
import subprocess
import sys

import pytest
import torch

from vidence.training.allocator import blocks_kept

BLOCK = 8 * 2**20
BLOCKS = f"""
from resource import RUSAGE_SELF, getrusage
from vidence.training.allocator import blocks_kept

def faults():
    first = getrusage(RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray({BLOCK})
    return getrusage(RUSAGE_SELF).ru_minflt - first

faults()
print(faults())
with blocks_kept():
    faults()
faults()
print(faults())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")


def faults() -> int:
    """Page faults of allocating and freeing 128 MiB in eight blocks."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.ones(BLOCK // 2) for _ in range(8)]  # float32
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_pages_are_cleared_once_and_go_back_afterwards() -> None:
    with blocks_kept():
        kept = min(faults() for _ in range(6))  # the heap takes some turns to have room for all
    after = faults()
    assert kept < after / 4


@glibc
def test_the_process_is_left_as_quick_as_it_was() -> None:
    """In a process of its own, whose thresholds nothing has set: ten blocks of 8 MiB cost no more pages than before."""
    found = subprocess.run([sys.executable, "-c", BLOCKS], check=True, capture_output=True, text=True)
    before, after = map(int, found.stdout.split())
    assert after < before + BLOCK // 4096


@glibc
def test_nothing_happens_where_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    class Refuses:
        def mallopt(self, parameter: int, value: int) -> int:
            told.append(parameter)
            return 0

    monkeypatch.setattr("ctypes.CDLL", lambda _: Refuses())
    with blocks_kept():
        pass
    assert told == [-3, -3]


def test_an_error_comes_through() -> None:
    with pytest.raises(KeyError), blocks_kept():
        raise KeyError


def test_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    with blocks_kept():
        pass
