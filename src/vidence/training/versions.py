"""A detector's folder that remembers what it held: a new version takes the place of the old one, and may be undone.

The old files lie in `previous/1`, `previous/2`, ..., byte for byte. A version is kept whole before the first file is
replaced, so that whatever goes wrong afterwards can be undone, a power failure included.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vidence.aside import written_aside
from vidence.errors import DataError, OutputError, VidenceError
from vidence.models.detector_folder import FACTS_FILE

PREVIOUS = "previous"


def replace_version(folder: Path, save: Callable[[Path], Any]) -> None:
    """`save(place)` writes the new files into a folder beside; each takes its name in `folder`, the facts last.

    The files that they replace are kept in `previous/`. After an error, Ctrl-C included, `folder` is as before.
    """
    with _told(folder), TemporaryDirectory(dir=folder, prefix=".next-") as place:
        save(Path(place))
        names = _ordered(Path(place))
        kept = _keep(folder, names)
        try:
            for name in names:
                os.replace(Path(place) / name, folder / name)
        except BaseException:
            _restore(kept, folder)
            _drop(kept)
            raise


def undo(folder: Path) -> None:
    """Put the files back that the last version replaced, byte for byte. Raises `DataError` if there are none."""
    with _told(folder):
        kept = kept_versions(folder)
        while kept and _same(kept[-1], folder):  # a replacement that was cut off before its first file
            _drop(kept.pop())
        if not kept:
            raise DataError(
                f"there must be a previous version to go back to; {folder} has none. It is as it was trained."
            )
        _restore(kept[-1], folder)
        _drop(kept[-1])


def kept_versions(folder: Path) -> list[Path]:
    """The folders of the kept versions, the oldest first."""
    found = (path for path in (folder / PREVIOUS).glob("*") if path.name.isdigit())
    return sorted(found, key=lambda path: int(path.name))


def _keep(folder: Path, names: Sequence[str]) -> Path:
    """Copy files aside, then give the copy the next number."""
    number = max((int(path.name) for path in kept_versions(folder)), default=0) + 1
    place = folder / PREVIOUS / str(number)
    aside = place.with_name(f".{number}.{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        for name in names:
            with written_aside(aside / name) as copy:
                shutil.copyfile(folder / name, copy)
        aside.rename(place)
    except BaseException:
        _drop(aside)
        raise
    return place


def _restore(kept: Path, folder: Path) -> None:
    for name in _ordered(kept):
        with written_aside(folder / name) as copy:
            shutil.copyfile(kept / name, copy)


def _drop(place: Path) -> None:
    shutil.rmtree(place)
    if not any(place.parent.iterdir()):
        place.parent.rmdir()


def _same(kept: Path, folder: Path) -> bool:
    pairs = ((kept / name, folder / name) for name in _ordered(kept))
    return all(now.exists() and old.read_bytes() == now.read_bytes() for old, now in pairs)


def _ordered(place: Path) -> list[str]:
    """The files' names, the facts last: they name the digest of the weights."""
    return sorted((path.name for path in place.iterdir()), key=lambda name: (name == FACTS_FILE, name))


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What the disk refuses becomes one message."""
    try:
        yield
    except VidenceError:
        raise
    except OSError as error:
        raise OutputError(
            f"{folder} must be a folder that can be written to; got {error.strerror or error}. "
            "Free space on the disk or check its permissions; the detector is as it was, or can be undone to it."
        ) from error
