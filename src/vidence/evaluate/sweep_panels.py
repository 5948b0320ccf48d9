"""Maps of the same fixed clips at every point of a sweep: one panel per sweep, and how concentrated the maps are.

The paper chose its settings by looking at such maps. Here the look is fixed (clips, frames, explainers) and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from vidence.aside import written_aside
from vidence.attribution import EXPLAINERS
from vidence.errors import OutputError
from vidence.evaluate.complexity import Masses, area, entropy
from vidence.frames.clip import Clip
from vidence.frames.transforms import resize_map
from vidence.models.classifier_detector import ClassifierDetector
from vidence.render import HeatmapWithContours
from vidence.render.sheet import write_sheet
from vidence.scoring.scores import Logit

METHODS = ("grad-cam", "when-where")
# of the positive part, on the map's own grid
SPREADS: dict[str, Callable[[Masses], float]] = {"entropy": entropy, "area": partial(area, least=0.5)}
COLUMNS = tuple(f"{name}_{method}" for method in METHODS for name in SPREADS)
HEIGHT = 160  # pixels of a picture in a row


class Panels:
    """Called at each point (value, seed, detector); draws the rows of seed `drawn` into `folder`/NAME-<value>.png.

    A picture per clip and method: the frame on which the map is strongest, scaled over the clip. Returns `COLUMNS`,
    the means over the clips.
    """

    def __init__(self, name: str, folder: Path, clips: Sequence[Clip], *, drawn: int = 0) -> None:
        self._name, self._folder, self._clips, self._drawn = name, folder, clips, drawn

    def __call__(self, value: Any, seed: int, detector: ClassifierDetector) -> dict[str, float]:
        """Explain the clips at one point."""
        found: dict[str, float] = {}
        pictures: list[UInt8[np.ndarray, "h w 3"]] = []
        for method in METHODS:
            maps = [self._map(method, detector, clip) for clip in self._clips]
            positive = [np.maximum(values, 0).reshape(-1) for values in maps]
            for name, spread in SPREADS.items():
                found[f"{name}_{method}"] = float(np.mean([spread(masses) for masses in positive]))
            pictures += [_picture(detector, clip, values) for clip, values in zip(self._clips, maps, strict=True)]
        if seed == self._drawn:
            with written_aside(self._row(value)) as aside:
                cv2.imwrite(str(aside), np.concatenate(pictures, axis=1)[..., ::-1])
        return found

    def finish(self, values: Sequence[Any], captions: Sequence[str]) -> Path:
        """Put the rows under each other: `folder`/NAME-panel.png."""
        rows = []
        for value in values:
            row = cv2.imread(str(self._row(value)))
            if row is None:
                raise OutputError(
                    f"{self._row(value)} must be the picture of a finished point; it is missing. Sweep again."
                )
            rows.append(row[..., ::-1])
        path = self._folder / f"{self._name}-panel.png"
        text = f"left: {METHODS[0]}, right: {METHODS[1]}; {len(self._clips)} fixed clips, each map's strongest frame"
        write_sheet(path, rows, captions, title=f"sweep over {self._name}", text=text, columns=1)
        return path

    def _map(self, method: str, detector: ClassifierDetector, clip: Clip) -> np.ndarray:
        found = EXPLAINERS[method]().attribute(detector.network, detector.prepare(clip), Logit())
        return found.values[0].cpu().numpy()

    def _row(self, value: Any) -> Path:
        return self._folder / f"{self._name}-{value:g}.png"


def _picture(detector: ClassifierDetector, clip: Clip, values: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    size = (clip.pixels.shape[1], clip.pixels.shape[2])
    strongest = int(np.abs(values).sum(axis=(1, 2)).argmax())
    affine = detector.fit.to_source(size, (values.shape[1], values.shape[2]))
    shown = resize_map(values[strongest : strongest + 1], affine, size)
    peak = float(np.abs(values).max())
    drawn = HeatmapWithContours()(clip.pixels[strongest : strongest + 1], shown, peak=peak)[0]
    return cv2.resize(drawn, (HEIGHT * 4 // 3, HEIGHT), interpolation=cv2.INTER_AREA)
