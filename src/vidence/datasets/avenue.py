"""CUHK Avenue (Lu, Shi, Jia, ICCV 2013) as published: AVI videos, and a MATLAB cell array of masks for each test."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool

from vidence.datasets.dataset import Sample, Truth
from vidence.datasets.intervals import same_length
from vidence.datasets.publication import Official
from vidence.errors import DataError

_MASKS = "testing_label_mask"


@dataclass(frozen=True)
class Avenue(Official):
    """A campus walkway: 16 training and 21 test videos, 640x360. Every test video holds an anomaly."""

    origin = "http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/dataset.html (videos and ground_truth_demo)"
    layout = "training_videos/*.avi, testing_videos/*.avi and testing_label_mask/*_label.mat"
    top = "Avenue Dataset"
    crop = (60, 0, 300, 640)
    fps = 25.0

    def part(self, name: Literal["train", "test"]) -> list[Sample]:
        """The videos of a part."""
        folder = f"{name}ing_videos"
        place = self.place(folder)
        videos = self.some(place.glob("*.avi"), f"{folder}/*.avi")
        if name == "train":
            return [Sample(str(video), "normal", f"{folder}/{video.stem}") for video in videos]
        return [Sample(str(video), "anomalous", f"{folder}/{video.stem}", self._mask(video)) for video in videos]

    def _mask(self, video: Path) -> str:
        file = f"{_MASKS}/{int(video.stem)}_label.mat" if video.stem.isdigit() else f"{_MASKS}/{video.stem}_label.mat"
        return str(self.place(file, f"ground_truth_demo/{file}"))

    def truth(self, sample: Sample, frames: int) -> Truth:
        """A test frame is anomalous where its mask is not empty."""
        if sample.mask is None:
            return super().truth(sample, frames)
        masks = read_cells(sample.mask)
        same_length(len(masks), frames, where=f"the truth {sample.mask!r}")
        return Truth(np.asarray(masks.any(axis=(1, 2))), masks)


def read_cells(file: str) -> Bool[np.ndarray, "t h w"]:
    """The masks of `volLabel`, a cell array with one matrix per frame. Raises `DataError`."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        cells = loadmat(file, variable_names=["volLabel"])["volLabel"].ravel()
        return np.stack([np.asarray(cell != 0) for cell in cells])
    except (OSError, LookupError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        raise DataError(
            f"the truth of an Avenue video must be a MATLAB file with volLabel, one mask per frame; {file!r}: {error}. "
            "If it is of version 7.3, save it again with -v7 (load and save in MATLAB or Octave, or h5py and "
            "scipy.io.savemat); else get ground_truth_demo anew."
        ) from error
