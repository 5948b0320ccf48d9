"""Samples that hold the same bytes under other names: they are one, so they belong on one side of every split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from scipy.cluster.hierarchy import DisjointSet

from vidence.datasets.dataset import Sample


def copies_together(samples: Sequence[Sample]) -> list[Sample]:
    """The samples in their order; groups of which one holds a copy of what is in the other become one group.

    Its name is the first of theirs. Only samples of equal size are read.
    """
    groups = DisjointSet({sample.group for sample in samples})
    for alike in _alike(samples, _sizes):
        for copies in _alike(alike, _bytes):
            for copy in copies[1:]:
                groups.merge(copies[0].group, copy.group)
    return [replace(sample, group=min(groups.subset(sample.group))) for sample in samples]


def _alike(samples: Iterable[Sample], key: Callable[[list[Path]], Hashable]) -> list[list[Sample]]:
    """Those samples, two at least together, whose files have the same key."""
    held = defaultdict(list)
    for sample in samples:
        held[key(_files(Path(sample.path)))].append(sample)
    return [each for each in held.values() if len(each) > 1]


def _files(place: Path) -> list[Path]:
    """A sample's file, or the visible files of its folder of frames."""
    if not place.is_dir():
        return [place]
    return sorted(one for one in place.iterdir() if one.is_file() and not one.name.startswith("."))


def _sizes(files: list[Path]) -> tuple[int, ...]:
    return tuple(file.stat().st_size for file in files)


def _bytes(files: list[Path]) -> bytes:
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.digest()
