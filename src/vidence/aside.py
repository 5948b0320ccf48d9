"""Files are written aside, then renamed: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from vidence.errors import OutputError, VidenceError

# what a refused write says where it names no file; None: a library's own words
_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, None)


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the name `path` if the block ends without an error.

    See `kept_aside`. After an error, Ctrl-C included, `path` is as before.
    """
    with kept_aside(path) as aside:
        yield aside
        take_name(aside, Path(path))


@contextmanager
def kept_aside(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` that nobody else writes to, other threads and processes that write `path` included.

    What is there after the block is removed: give it a name before, with `take_name`. The suffix is that of `path`,
    because some writers choose the format by it. A disk that is full or write-protected raises `OutputError`; an error
    about any other file is left as it is.
    """
    place = Path(path)
    aside = place.with_name(f".{place.stem}.{uuid4().hex[:12]}{place.suffix}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield aside
    except VidenceError:
        raise  # ours, from inside the block (a source that cannot be read, another file): it says what
    except OSError as error:
        if not _refused(error, aside):
            raise
        raise OutputError(
            f"{place} must be writable; got {error.strerror or error}. "
            "Free space on the disk or choose another folder; what was written before is whole."
        ) from error
    finally:
        if aside.exists():  # also False where the folder is a file
            aside.unlink()


def take_name(aside: Path, path: Path) -> None:
    """Give the file `aside` the name `path`, once it is on the disk; an older file of that name is replaced."""
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    aside.replace(path)


def make_folder(folder: Path) -> None:
    """Make a folder to write to, where there is none. Raises `OutputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} must be a folder to write to; got {error.strerror}. Choose another one."
        ) from error


def _refused(error: OSError, aside: Path) -> bool:
    """Whether an error says that `aside` could not be written."""
    if not error.filename:
        return error.errno in _REFUSED
    return Path(os.fsdecode(error.filename)) in (aside, *aside.parents)
