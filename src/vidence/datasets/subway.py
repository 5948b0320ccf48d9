"""Subway Entrance and Exit (Adam, Rivlin, Shimshoni, Reinitz, TPAMI 2008): one long video a camera, and its events."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from vidence.datasets.dataset import Sample, Truth
from vidence.datasets.folder import read_rows
from vidence.datasets.intervals import Interval
from vidence.datasets.publication import Official, visible
from vidence.errors import DataError

SECTIONS = 10  # pieces of the training part: neighbours in time stay together, and some can validate
FPS = 25


@dataclass(frozen=True)
class _Subway(Official):
    """`subway_CAMERA_turnstiles.*` and `CAMERA_events.csv` with the columns first_frame,last_frame, counted from 1 in
    the whole video, both ends included; an event known by one frame has it in both columns.

    The video's beginning is for training, in ten sections; those with an event in them are not normal. The rest is the
    test. `tolerance` frames on either side of an event count as anomalous too: 10, as the released code of the thesis
    has it (its text says 15).
    """

    tolerance: int = 10
    origin = "its authors: A. Adam, E. Rivlin, I. Shimshoni, D. Reinitz, 'Robust Real-Time Unusual Event Detection'"
    crop = (64, 8, 280, 488)
    channels = 1
    fps = float(FPS)
    training_s: ClassVar[int]

    @property
    @abstractmethod
    def camera(self) -> str:
        """Which of the two."""

    @property
    def video(self) -> Path:
        """The long video."""
        stem = f"subway_{self.camera}_turnstiles"
        files = (path for home in self.homes() for path in visible(home.glob("*")) if path.is_file())
        found = next((path for path in files if path.stem.lower() == stem), None)
        if found is None:
            raise self.absent(f"{stem}.avi")
        return found

    @property
    def events(self) -> list[Interval]:
        """First and last frame of each event. Raises `DataError`."""
        table = self.place(f"{self.camera}_events.csv")
        try:
            rows = read_rows(table, ["first_frame", "last_frame"])
            events = [(int(row["first_frame"]), int(row["last_frame"])) for row in rows]
        except ValueError as error:
            raise DataError(f"{table.name} must list whole numbers of frames: {error}") from error
        if wrong := [event for event in events if not 1 <= event[0] <= event[1]]:
            raise DataError(f"an event must begin at frame 1 or later and end after it begins; got {wrong[0]}.")
        return events

    def part(self, name: Literal["train", "test"]) -> list[Sample]:
        """Ten sections for training, one for the test."""
        video, cut = str(self.video), self.training_s * FPS
        if name == "test":
            return [Sample(video, "anomalous", "test", frames=(cut, None))]
        edges = [round(i * cut / SECTIONS) for i in range(SECTIONS + 1)]
        samples = []
        for i, (first, stop) in enumerate(pairwise(edges)):
            calm = not any(a - self.tolerance <= stop and b + self.tolerance > first for a, b in self.events)
            label = "normal" if calm else "anomalous"
            samples.append(Sample(video, label, f"train-{i:02d}", frames=(first, stop)))
        return samples

    def truth(self, sample: Sample, frames: int) -> Truth:
        """The frames of the section that lie in an event or within `tolerance` of one."""
        first, stop = sample.frames or (0, None)
        end = first + frames
        if stop is None and (late := [event for event in self.events if event[1] > end]):
            raise DataError(
                f"every event must lie in the video, which has {end} frames; got {late[0]}. The list belongs to "
                "another version of the video, or the video is cut off."
            )
        anomalous = np.zeros(end, dtype=bool)
        for a, b in self.events:
            anomalous[max(a - 1 - self.tolerance, 0) : b + self.tolerance] = True
        return Truth(anomalous[first:])


@dataclass(frozen=True)
class SubwayEntrance(_Subway):
    """96 minutes, 512x384; the first 15 minutes are for training."""

    camera = "entrance"
    layout = "subway_entrance_turnstiles.avi and entrance_events.csv"
    training_s = 15 * 60


@dataclass(frozen=True)
class SubwayExit(_Subway):
    """43 minutes, 512x384; the first 5 minutes are for training."""

    camera = "exit"
    layout = "subway_exit_turnstiles.avi and exit_events.csv"
    training_s = 5 * 60
