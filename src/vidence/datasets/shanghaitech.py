"""ShanghaiTech Campus (Luo, Liu, Gao, ICCV 2017): folders of frames with NumPy truth, as do sets in its layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool

from vidence.datasets.dataset import Sample, Truth
from vidence.datasets.intervals import same_length
from vidence.datasets.masks import read_mask_array
from vidence.datasets.publication import Official
from vidence.errors import DataError
from vidence.frames.footage import footage_in


@dataclass(frozen=True)
class ShanghaiTech(Official):
    """13 scenes: 330 training videos, 107 test clips. Training may lie there as videos or as folders of frames."""

    origin = "https://svip-lab.github.io/dataset/campus_dataset.html"
    layout = (
        "training/videos/*.avi (or training/frames/CLIP/*.jpg), testing/frames/CLIP/*.jpg, "
        "testing/test_frame_mask/CLIP.npy and, for pixels, testing/test_pixel_mask/CLIP.npy"
    )
    top = "shanghaitech"
    fps = 24.0

    def part(self, name: Literal["train", "test"]) -> list[Sample]:
        """The clips of a part; one of the test is anomalous if any of its frames is."""
        if name == "train":
            place = self.place("training/frames", "training/videos")
            clips = self.some(footage_in(place), f"training/{place.name}/*")
            return [Sample(str(clip), "normal", f"training/{clip.stem}", fps=self.fps) for clip in clips]
        folders = (path for path in footage_in(self.place("testing/frames")) if path.is_dir())
        clips = self.some(folders, "testing/frames/*/")
        return [
            Sample(
                str(clip),
                "anomalous" if self._frame_mask(clip).any() else "normal",
                f"testing/{clip.name}",
                self._pixel_mask(clip),
                fps=self.fps,
            )
            for clip in clips
        ]

    def truth(self, sample: Sample, frames: int) -> Truth:
        """Frames by `test_frame_mask`, pixels where there are masks."""
        clip = Path(sample.path)
        if clip.parents[1].name == "training":
            return super().truth(sample, frames)
        anomalous = self._frame_mask(clip)
        same_length(len(anomalous), frames, where=f"test_frame_mask/{clip.name}.npy")
        return Truth(anomalous, None if sample.mask is None else read_mask_array(sample.mask, frames))

    def _frame_mask(self, clip: Path) -> Bool[np.ndarray, " t"]:
        file = f"test_frame_mask/{clip.name}.npy"
        place = self.place(f"testing/{file}", file)
        try:
            held: np.ndarray = np.load(place, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{file} must be a NumPy file with one number per frame: {error}.") from error
        if held.size != max(held.shape, default=0):  # (1, n) and (n, 1) are lists too
            raise DataError(f"{file} must hold one number per frame; got the shape {held.shape}.")
        return np.asarray(held.ravel() != 0)

    def _pixel_mask(self, clip: Path) -> str | None:
        file = f"test_pixel_mask/{clip.name}.npy"
        found = self.found(f"testing/{file}", file)
        return None if found is None else str(found)
