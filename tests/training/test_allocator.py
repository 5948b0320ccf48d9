"""Freed memory is kept inside, and goes back afterwards; numbers stay the same."""

import platform

import pytest
import torch

from vidence.training.allocator import blocks_kept


def faults(blocks: int) -> int:
    """Page faults of allocating and freeing a block of 16 MiB so many times."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        torch.ones(4 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
def test_pages_are_cleared_once_instead_of_every_time() -> None:
    with blocks_kept():
        faults(2)
        kept = faults(8)
    after = faults(8)
    assert kept < after / 4


def test_an_error_comes_through() -> None:
    with pytest.raises(KeyError), blocks_kept():
        raise KeyError


def test_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    with blocks_kept():
        pass
