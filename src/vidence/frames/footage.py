"""A folder of videos: each of them a source, where a folder of images is one."""

from __future__ import annotations

from pathlib import Path

from vidence.frames.images import IMAGE_SUFFIXES, natural

# what lies beside footage in many folders, and is none; our own tables and records among it
BESIDE_FOOTAGE = frozenset(
    (".csv", ".db", ".html", ".ini", ".json", ".md", ".npy", ".npz", ".pdf", ".txt", ".xml", ".yaml", ".yml")
)

_OWN = ("detector.json", "metrics.json", "records.db", "scores.csv")  # one of them is in every folder that we write


def footage_in(folder: Path) -> list[Path]:
    """What lies in a folder as footage: its visible files and folders in natural order, without what lies beside
    footage, and without folders that a command of ours wrote.
    """
    kept = [one for one in folder.iterdir() if not one.name.startswith(".")]
    kept = [one for one in kept if one.suffix.lower() not in BESIDE_FOOTAGE]
    kept = [one for one in kept if not any((one / name).exists() for name in _OWN)]
    return sorted(kept, key=lambda one: natural(one.name))


def videos_at(path: str | Path) -> list[Path]:
    """The videos that lie directly in a folder; none where images do, which are the frames of one clip, and none where
    there is no folder. What lies in folders below is left out.
    """
    place = Path(path)
    files = [one for one in footage_in(place) if one.is_file()] if place.is_dir() else []
    return [] if any(one.suffix.lower() in IMAGE_SUFFIXES for one in files) else files
