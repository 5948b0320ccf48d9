"""UCF-Crime (Sultani, Chen, Shah, CVPR 2018) as published: videos in class folders, lists, and temporal annotations."""

from __future__ import annotations

import re
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
_LINE = re.compile(r"(\S+)\s+(\w+)((?:\s+-?\d+){4})")


@dataclass(frozen=True)
class UcfCrime(Official):
    """Surveillance videos with 13 kinds of crime and accident; training uses the normal videos of `Anomaly_Train.txt`.

    Lists and videos may lie anywhere below the root: the publisher's archives are unpacked in many ways. A test video
    has up to two intervals of anomalous frames, taken as counted from 1 with both ends included.
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
        paths = self._videos(labels)
        return [Sample(str(paths[file]), label, Path(file).stem) for file, label in sorted(labels.items())]

    def truth(self, sample: Sample, frames: int) -> Truth:
        """The annotated intervals; one that ends after the video is cut to it."""
        file = Path(sample.path).name
        _, intervals = self._annotated().get(file, ("normal", []))
        cut = [(first, min(last, frames)) for first, last in intervals]
        return Truth(covered(cut, frames, where=f"the annotation of {file}"))

    def _lines(self, name: str) -> list[str]:
        found = self.some(Path(self.root).rglob(name), name)
        return found[0].read_text(encoding="utf-8-sig").splitlines()

    def _annotated(self) -> dict[str, tuple[str, list[Interval]]]:
        """Label and intervals of each test video, by file name. Raises `DataError` with a line that is none."""
        found = {}
        for number, line in enumerate(self._lines(_TEST), start=1):
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

    def _videos(self, needed: Iterable[str]) -> dict[str, Path]:
        """Where each needed video lies. Raises `DataError` that counts the missing ones."""
        paths = {path.name: path for path in sorted(Path(self.root).rglob("*"), reverse=True) if path.is_file()}
        if absent := sorted(set(needed) - set(paths)):
            raise self.absent(f"{absent[0]} (and {len(absent) - 1} more listed videos)" if absent[1:] else absent[0])
        return paths
