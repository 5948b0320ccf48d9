"""UCF-Crime (Sultani, Chen, Shah, CVPR 2018) as published: videos in class folders, lists, and temporal annotations."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidence.datasets.dataset import Sample, Truth
from vidence.datasets.intervals import Interval, covered
from vidence.datasets.publication import Official
from vidence.errors import DataError

_TRAIN = "Anomaly_Train.txt"
_TEST = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
_NAMES = (_TEST, "Temporal_Anomaly_Annotation.txt")  # of the one list, from the project's page and from its repository
_LINE = re.compile(r"(\S+)\s+(\w+)((?:\s+-?\d+){4})")


@dataclass(frozen=True)
class UcfCrime(Official):
    """Surveillance videos with 13 kinds of crime and accident; training uses the normal videos of `Anomaly_Train.txt`.

    Lists and videos may lie anywhere below the root: the publisher's archives are unpacked in many ways. Of the videos
    (ten archives) those that are there are used; a warning counts the others. A test video has up to two intervals of
    anomalous frames, taken as counted from 1 with both ends included.
    """

    origin = "https://www.crcv.ucf.edu/projects/real-world/ (videos, Anomaly_Detection_splits, temporal annotations)"
    layout = f"the class folders with their videos, {_TRAIN} and {_TEST}"
    fps = 30.0

    def part(self, name: Literal["train", "test"]) -> list[Sample]:
        """The normal videos of the training list, or the annotated test videos, labelled with their class."""
        if name == "test":
            labels = {file: label for file, (label, _) in self._annotated().items()}
        else:
            files = (line.strip().rsplit("/", 1)[-1] for line in self._lines(_TRAIN) if line.strip())
            labels = {file: "normal" for file in files if file.startswith("Normal")}
        paths = self._videos(labels, part=name)
        return [
            Sample(str(paths[file]), label, Path(file).stem) for file, label in sorted(labels.items()) if file in paths
        ]

    def truth(self, sample: Sample, frames: int) -> Truth:
        """The annotated intervals; one that ends after the video is cut to it."""
        file = Path(sample.path).name
        _, intervals = self._annotated().get(file, ("normal", []))
        cut = [(first, min(last, frames)) for first, last in intervals]
        return Truth(covered(cut, frames, where=f"the annotation of {file}"))

    def _lines(self, *names: str) -> list[str]:
        found = self.some((place for name in names for place in Path(self.root).rglob(name)), " or ".join(names))
        return found[0].read_text(encoding="utf-8-sig").splitlines()

    def _annotated(self) -> dict[str, tuple[str, list[Interval]]]:
        """Label and intervals of each test video, by file name. Raises `DataError` with a line that is none."""
        found = {}
        for number, line in enumerate(self._lines(*_NAMES), start=1):
            if not line.strip():
                continue
            read = _LINE.fullmatch(line.strip())
            if read is None:
                raise DataError(
                    f"{_TEST} must have lines like 'Abuse028_x264.mp4  Abuse  165  240  -1  -1'; "
                    f"line {number} is {line!r}."
                )
            a, b, c, d = (int(one) for one in read[3].split())
            label = "normal" if read[2] == "Normal" else read[2]
            found[read[1]] = (label, [pair for pair in ((a, b), (c, d)) if pair != (-1, -1)])
        return found

    def _videos(self, needed: Iterable[str], *, part: str) -> dict[str, Path]:
        """Where the needed videos lie that are there. Raises `DataError` where none is, and warns of missing ones."""
        listed = set(needed)
        paths = {path.name: path for path in sorted(Path(self.root).rglob("*"), reverse=True) if path.is_file()}
        absent = sorted(listed - set(paths))
        if absent and len(absent) == len(listed):
            raise self.absent(f"{absent[0]} (and {len(absent) - 1} more listed videos)" if absent[1:] else absent[0])
        if absent:
            warnings.warn(
                f"{len(absent)} of the {len(listed)} videos of the {part} part of UCF-Crime are missing in "
                f"{self.root!r}, {absent[0]} the first. The others are used: figures are not those of the whole set.",
                stacklevel=3,
            )
        return paths
