"""A sweep's panel: one row per setting, drawn once, with its maps' concentration."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vidence.attribution import EXPLAINERS
from vidence.errors import OutputError
from vidence.evaluate.complexity import area, entropy
from vidence.evaluate.sweep_panels import COLUMNS, HEIGHT, Panels
from vidence.frames.clip import Clip
from vidence.frames.source import open_source
from vidence.models.classifier_detector import ClassifierDetector, ClassifierSettings
from vidence.scoring.scores import Logit


@pytest.fixture(scope="module")
def detector(detector_folder: Path) -> ClassifierDetector:
    return ClassifierSettings.load(detector_folder)


@pytest.fixture(scope="module")
def clips(detector: ClassifierDetector, film: Path) -> list[Clip]:
    source = open_source(film)
    return [detector.windows.at(source, first) for first in (0, 10)]


def test_a_point_is_measured_as_by_hand(detector: ClassifierDetector, clips: list[Clip], tmp_path: Path) -> None:
    found = Panels("units", tmp_path, clips)(8, 0, detector)
    assert tuple(sorted(found)) == tuple(sorted(COLUMNS))
    for method in ("grad-cam", "when-where"):
        maps = [
            EXPLAINERS[method]().attribute(detector.network, detector.prepare(clip), Logit()).values[0].numpy()
            for clip in clips
        ]
        positive = [np.maximum(values, 0).ravel() for values in maps]
        assert found[f"entropy_{method}"] == pytest.approx(np.mean([entropy(masses) for masses in positive]))
        assert found[f"area_{method}"] == pytest.approx(np.mean([area(masses, 0.5) for masses in positive]))


def test_rows_of_one_seed_make_the_panel(detector: ClassifierDetector, clips: list[Clip], tmp_path: Path) -> None:
    panels = Panels("units", tmp_path, clips, drawn=1)
    panels(8, 0, detector)
    assert list(tmp_path.iterdir()) == []  # another seed's
    for value in (8, 16):
        panels(value, 1, detector)
    row = cv2.imread(str(tmp_path / "units-8.png"))
    assert row.shape == (HEIGHT, 4 * (HEIGHT * 4 // 3), 3)  # two pictures a clip
    path = panels.finish([8, 16], ["8", "16"])
    assert path == tmp_path / "units-panel.png"
    assert cv2.imread(str(path)).shape[0] > 2 * HEIGHT


def test_a_missing_row_is_told(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"units-8\.png"):
        Panels("units", tmp_path, clips).finish([8], ["8"])
