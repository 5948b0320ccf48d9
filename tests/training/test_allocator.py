"""Freed memory is kept inside, and goes back afterwards; numbers stay the same."""

import platform

import pytest
import torch

from vidence.training.allocator import blocks_kept

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")


def faults(mib: int, *, times: int = 1, together: int = 1) -> int:
    """Page faults of allocating and freeing so many blocks at once, so many times."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        [torch.ones(mib * 2**18) for _ in range(together)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_pages_are_cleared_once_and_go_back_afterwards() -> None:
    with blocks_kept():
        kept = min(faults(16, together=8) for _ in range(6))  # the heap takes some turns to have room for all
    after = faults(16, together=8)
    assert kept < after / 4


@glibc
def test_the_process_is_left_as_quick_as_it_was() -> None:
    """Threshold by threshold: one block is kept by itself, ten of 8 MiB cost no more than before."""
    faults(8, times=2)
    before = faults(8, times=10)
    with blocks_kept():
        faults(8, times=2)
    faults(8, times=2)
    block = 8 * 2**20 // 4096
    assert faults(8, times=10) < before + block


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
    assert told == [-3]


def test_an_error_comes_through() -> None:
    with pytest.raises(KeyError), blocks_kept():
        raise KeyError


def test_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    with blocks_kept():
        pass
