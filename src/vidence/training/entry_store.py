"""Arrays that were made of sources, kept on disk and memory-mapped: an entry is whole or absent."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from jaxtyping import Float

from vidence.aside import kept_aside, take_name, written_aside
from vidence.errors import DataError

Made = TypeVar("Made")
Of = TypeVar("Of")


@dataclass(frozen=True, eq=False)
class Entry:
    """What was made of one source: rows `x` (w, ...), memory-mapped, and `times` (w, ...) in seconds."""

    x: np.ndarray
    times: Float[np.ndarray, "w ..."]


@dataclass(frozen=True)
class EntryStore:
    """Entries by name below `folder`. A file's name ends in a checksum of its content, so that a damaged one is seen;
    the times are in place before the rows get their name.
    """

    folder: Path

    def read(self, name: str) -> Entry | None:
        """The entry if its files are whole; a damaged one is removed."""
        for file in sorted(self.folder.glob(f"{name[:2]}/{name}-*.npy")):
            try:
                x = np.load(file, mmap_mode="r", allow_pickle=False)
                times = np.load(_times(file), allow_pickle=False)
            except (ValueError, OSError, EOFError):
                x, times = np.zeros(0), np.zeros(0)
            rows = np.ascontiguousarray(x)  # no copy: the rows are mapped, and read once
            if file.stem.endswith(f"-{_checksum(zlib.crc32(rows.data), x, times)}"):
                return Entry(x, times)
            file.unlink(missing_ok=True)  # another may have seen it too
        return None

    def write(self, name: str, parts: Iterable[Entry]) -> Entry:
        """Write an entry part by part; no more than one part is held. Raises `DataError` if there is none.

        Others may write the same entry at the same time: theirs is equal, and takes the same name.
        """
        shelf = self.folder / name[:2]
        with kept_aside(shelf / f"{name}.npy") as aside:
            with aside.open("wb") as handle:
                crc, times = _stream(handle, parts)
            file = shelf / f"{name}-{_checksum(crc, np.load(aside, mmap_mode='r'), times)}.npy"
            with written_aside(_times(file)) as beside, beside.open("wb") as handle:
                np.save(handle, times, allow_pickle=False)
            take_name(aside, file)
        return Entry(np.load(file, mmap_mode="r", allow_pickle=False), times)


def side_by_side(make: Callable[[Of], Made], of: Sequence[Of], *, step: Callable[[], None]) -> list[Made]:
    """`make` of each, in order; `step` is called after each.

    As many sources as torch has threads are worked on side by side, each by one thread: one decodes while
    another computes, and a busy machine does not slow them down as it does threads that wait for each other.
    """
    made, threads = [], torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for each in pool.map(make, of):
                made.append(each)
                step()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(threads)  # a part of the setting is the process's, not the thread's
    return made


def _stream(handle: BinaryIO, parts: Iterable[Entry]) -> tuple[int, np.ndarray]:
    """Write rows as they come into one .npy; returns their CRC-32 and all times."""
    crc, rows, shape = 0, 0, ()
    times: list[np.ndarray] = []
    for part in parts:
        x = np.ascontiguousarray(part.x)
        if not times:
            shape, kind = x.shape[1:], np.lib.format.dtype_to_descr(x.dtype)
            header = {"descr": kind, "fortran_order": False, "shape": (0, *shape)}
            np.lib.format.write_array_header_1_0(handle, header)
        handle.write(x.data)
        crc, rows = zlib.crc32(x.data, crc), rows + len(x)
        times.append(part.times)
    if not rows:
        raise DataError("every source must hold a frame; this one holds none. Leave it out.")
    handle.seek(0)  # the header leaves room for any number of rows
    np.lib.format.write_array_header_1_0(handle, header | {"shape": (rows, *shape)})
    return crc, np.concatenate(times)


def _times(file: Path) -> Path:
    return file.with_suffix(".times")


def _checksum(crc: int, x: np.ndarray, times: np.ndarray) -> str:
    head = f"{x.dtype} {x.shape}".encode()
    return f"{zlib.crc32(times.tobytes(), zlib.crc32(head, crc)):08x}"
