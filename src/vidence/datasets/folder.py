"""A user's own set: a folder of class folders, or a CSV that lists files and labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vidence.datasets.copies import copies_together
from vidence.datasets.dataset import Dataset, Sample, classes_of, digest, normal_classes, split
from vidence.errors import DataError
from vidence.frames.footage import footage_in, videos_at
from vidence.frames.source import is_text

__all__ = ["Folder", "digest", "normal_classes", "read_folder", "split"]

SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Folder(Dataset):
    """A folder of class folders, normal footage (a folder of videos, or one), or a CSV with the columns file,label;
    `group` names a column of the CSV, `calm` the normal classes (None: by their names, see `normal_classes`), `rate`
    the frame rate of folders of frames.
    """

    path: str
    group: str | None = None
    calm: tuple[str, ...] | None = None
    rate: float | None = None

    def samples(self) -> list[Sample]:
        """See `read_folder`; one class will do, since a detector of the abnormal needs normal samples only."""
        return list(self._listed)

    @cached_property
    def _listed(self) -> tuple[Sample, ...]:
        listed = read_folder(self.path, group=self.group, least=1)
        return tuple(replace(sample, fps=self.rate) for sample in listed)

    @cached_property
    def normal(self) -> tuple[str, ...]:
        """The labels that count as normal, read once."""
        return normal_classes(classes_of(self.samples()), self.calm, alone=True)


def read_folder(path: str | Path, *, group: str | None = None, least: int = 2) -> list[Sample]:
    """List the samples of a folder of class folders, of a folder of normal videos, or of a CSV; a normal video is one.

    Folder: the class is the folder's name, each file or folder of frames in it is one sample and its own group; videos
    that lie in no class folder are the class `normal`, where no class folder lies beside them. CSV:
    columns `file` and `label`, optionally `mask` and the column named by `group`; relative paths start at the CSV's
    folder and must stay below it, absolute paths are taken as given. Copies of a file under other names are of one
    group, and so are their groups: see `copies_together`. Raises `DataError`, also for fewer than `least` classes.
    """
    place = Path(path)
    if not place.exists():
        raise DataError(f"the data must be a folder of class folders or a CSV file; {str(path)!r} does not exist.")
    if place.is_file() and (place.suffix.lower() == ".csv" or is_text(place)):
        samples = _from_table(place, group)
    elif group is not None:
        kind, beside = ("folder", place) if place.is_dir() else ("video", place.parent)
        table = next((str(one) for one in sorted(beside.glob("*.csv"))), "a CSV with columns file,label")
        raise DataError(f"the group column {group!r} needs a CSV; {str(path)!r} is a {kind}. Pass {table} instead.")
    else:
        samples = _from_classes(place) if place.is_dir() else [Sample(str(place), "normal", place.name)]
    classes = classes_of(samples)
    if len(classes) < least:
        raise DataError(
            f"a classifier needs at least two classes; {str(path)!r} has only {classes[0]!r} ({len(samples)} samples)."
        )
    return copies_together(samples)


def _from_classes(place: Path) -> list[Sample]:
    folders = sorted(one for one in footage_in(place) if one.is_dir())
    held = {folder.name: sorted(footage_in(folder)) for folder in folders}
    samples = [Sample(str(one), name, f"{name}/{one.name}") for name, inside in held.items() for one in inside]
    empty = [name for name, inside in held.items() if not inside]
    if samples and empty:
        raise DataError(f"each class folder must hold at least one video; empty: {_named(empty)}.")
    samples = samples or [Sample(str(one), "normal", one.name) for one in videos_at(place)]
    if not samples:
        raise DataError(
            f"a data folder must hold one folder per class with videos in it, or normal videos; {str(place)!r} holds "
            f"{len(folders)} folders and no video. The frames of a clip are a folder in its class folder."
        )
    return samples


def _from_table(place: Path, group: str | None) -> list[Sample]:
    rows = read_rows(place, [name for name in ("file", "label", group) if name])
    root = place.parent
    samples = []
    unlabelled = [str(i) for i, row in enumerate(rows, start=2) if not row["file"] or not row["label"]]
    if unlabelled:
        raise DataError(f"each row of {str(place)!r} needs a file and a label; rows without: {_named(unlabelled)}.")
    for row in rows:
        path = _below(root, row["file"], place)
        mask = _below(root, row["mask"], place) if row.get("mask") else None
        samples.append(
            Sample(str(path), row["label"], row[group] if group else row["file"], str(mask) if mask else None)
        )
    _complete(samples, place)
    return samples


def read_rows(place: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV in UTF-8 that has at least the needed columns; tabs part them if they part its header.

    Raises `DataError`.
    """
    try:
        with place.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter="\t" if "\t" in header else ",")
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
            columns = list(reader.fieldnames or [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"the data must be a folder of class folders or a CSV file in UTF-8; {str(place)!r} is neither: {error}."
        ) from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DataError(
            f"{str(place)!r} must be comma-separated with the columns {', '.join(needed)}; "
            f"missing: {', '.join(missing)}; it has: {_named(columns) or 'none'}."
        )
    if not rows:
        raise DataError(f"{str(place)!r} must list at least one file; it has a header and no rows.")
    return rows


def _below(root: Path, name: str, table: Path) -> Path:
    """A relative path must not leave the CSV's folder: a table from elsewhere cannot reach other files unseen."""
    path = Path(name)
    if path.is_absolute():
        return path
    if ".." in path.parts:
        raise DataError(
            f"relative paths in {str(table)!r} must stay below its folder; got {name!r}. "
            "Write an absolute path, or move the CSV up."
        )
    return root / path


def _complete(samples: Sequence[Sample], table: Path) -> None:
    paths = [sample.path for sample in samples]
    absent = [path for path in dict.fromkeys(paths) if not Path(path).exists()]
    absent += [sample.mask for sample in samples if sample.mask and not Path(sample.mask).exists()]
    if absent:
        raise DataError(
            f"every file listed in {str(table)!r} must exist; {len(absent)} of {len(paths)} are missing: "
            f"{_named(absent)}."
        )
    twice = sorted({path for path in paths if paths.count(path) > 1}) if len(set(paths)) < len(paths) else []
    if twice:
        raise DataError(
            f"a file must be listed once in {str(table)!r}; listed more often: {_named(twice)}. "
            "A file on both sides of a split would be learned by heart."
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
