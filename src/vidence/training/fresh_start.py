"""A training that starts anew in the folder of a former one: the two are not mixed, and no mistake loses the former."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vidence.models.detector_folder import FACTS_FILE, WEIGHTS_FILE
from vidence.training.versions import PREVIOUS

WRITTEN = ("log.csv", "curve.png", FACTS_FILE, WEIGHTS_FILE)  # what a training leaves, as it is told to the user
LEFT = (*WRITTEN, "progress.pt", "members", "film", PREVIOUS)  # all of it, but for the cache, which any may use


def unfinished(folder: Path) -> bool:
    """Whether there is an epoch to go on from, of the detector or of one of its members."""
    return (folder / "progress.pt").exists() or any((folder / "members").glob("**/progress.pt"))


@contextmanager
def started_anew(folder: Path) -> Iterator[None]:
    """Take what a former training left in `folder` out of the way while the block trains another one there.

    It is gone after the block. An error before the new training has an epoch to go on from puts it back; a process
    that is killed leaves it in `.former-*`.
    """
    held = [name for name in LEFT if (folder / name).exists()]
    if not held:
        yield
        return
    with TemporaryDirectory(dir=folder, prefix=".former-") as aside:
        _move(held, folder, Path(aside))
        try:
            yield
        except BaseException:
            if not unfinished(folder):
                _remove(folder)
                _move(held, Path(aside), folder)
            raise


def _move(names: Sequence[str], source: Path, target: Path) -> None:
    for name in names:
        os.replace(source / name, target / name)


def _remove(folder: Path) -> None:
    for name in LEFT:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
