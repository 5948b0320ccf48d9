"""From what a user names on the command line to the set: a published one and where it lies, or an own folder or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidence.datasets import DATASETS
from vidence.datasets.dataset import Dataset
from vidence.datasets.folder import Folder
from vidence.datasets.publication import Published
from vidence.errors import DataError


def open_dataset(
    name_or_path: str,
    *,
    root: Path | None,
    group: str | None = None,
    normal: Sequence[str] | None = None,
    fps: float | None = None,
) -> Dataset:
    """The set of a key of `DATASETS` below the folder `root`, or a folder of class folders or a CSV by its path.

    A key wins over a path of the same name; `./name` is a path. `group` (a column of a CSV), `normal` (classes) and
    `fps` (of folders of frames) are for own data: a published set knows them. Raises `DataError`.
    """
    calm = None if normal is None else tuple(normal)
    keys = ", ".join(sorted(DATASETS))
    if name_or_path not in DATASETS:
        if root is not None:
            raise DataError(f"--root goes with the name of a published set; got {name_or_path!r}. The names: {keys}.")
        if not Path(name_or_path).exists():
            raise DataError(
                f"the data must be a folder of class folders, a CSV, or a published set with --root DIR; there is "
                f"nothing at {name_or_path!r}, and the published sets are: {keys}."
            )
        return Folder(name_or_path, group, calm, fps)
    if root is None:
        raise DataError(
            f"the set {name_or_path!r} needs --root DIR, the folder it lies in. "
            f"To name your own folder, write ./{name_or_path}."
        )
    kind = DATASETS[name_or_path]
    if kind is Folder:
        return Folder(str(root), group, calm, fps)
    if group is not None or normal is not None or fps is not None:
        raise DataError(
            f"the set {name_or_path!r} knows its groups, normal classes and frame rate; leave out --group, --normal "
            "and --fps."
        )
    if not root.is_dir():
        layout = (
            f", which must hold {kind.layout}. Get the set from {kind.origin}" if issubclass(kind, Published) else ""
        )
        raise DataError(f"--root must be the folder of {name_or_path!r}; {str(root)!r} is none{layout}.")
    return kind(str(root))
