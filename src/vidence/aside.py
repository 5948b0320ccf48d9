"""Files are written aside, then renamed: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidence.errors import OutputError, VidenceError


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the name `path` if the block ends without an error.

    After an error, Ctrl-C included, nothing is left and `path` is as before. A disk that is full or
    write-protected raises `OutputError`. The suffix is kept, because some writers choose the format by it.
    """
    place = Path(path)
    aside = place.with_name(f".{place.stem}.{os.getpid()}{place.suffix}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(place)
    except VidenceError:
        raise  # ours, from inside the block (a source that cannot be read, another file): it says what
    except OSError as error:
        raise OutputError(
            f"{place} must be writable; got {error.strerror or error}. "
            "Free space on the disk or choose another folder; what was written before is whole."
        ) from error
    finally:
        if aside.exists():  # also False where the folder is a file
            aside.unlink()
