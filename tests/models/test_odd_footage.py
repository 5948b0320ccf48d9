"""Footage that `motion-attributes` did not learn in its form: other clocks, repeats, sizes, a camera that moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from moving_square import RATE, TINY, film, normal_films
from vidence.datasets.dataset import Sample
from vidence.errors import DataError
from vidence.frames.clip import Frame
from vidence.frames.source import open_source
from vidence.models.motion_attributes import MotionAttributesDetector
from vidence.models.usual_scene import SHAKEN
from vidence.scoring.cases import cases
from vidence.scoring.decisions import record
from vidence.scoring.run import judge, scored, scored_curve
from vidence.training.motion_fit import fit_motion

LIMIT = 1.0  # the live score that is rare


@dataclass
class Shown:
    """Pictures (h, w, 3) with their times, as a source."""

    pictures: Sequence[np.ndarray]
    times: Sequence[float]
    name: str = "shown.mp4"
    digest: str = "0" * 64

    def __iter__(self) -> Iterator[Frame]:
        yield from map(Frame, self.pictures, self.times)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return normal_films(tmp_path_factory.mktemp("films"), speed=2, count=3)


@pytest.fixture(scope="module")
def detector(films: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> MotionAttributesDetector:
    return fit_motion(TINY, films[:2], films[2:], out=tmp_path_factory.mktemp("detector"), progress=False)


def pictures(path: Path) -> list[np.ndarray]:
    return [frame.pixels for frame in open_source(str(path))]


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return pictures(film(tmp_path_factory.mktemp("normal") / "normal.mp4", speed=2.0, seed=7))


@pytest.fixture(scope="module")
def rush(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return pictures(film(tmp_path_factory.mktemp("rush") / "rush.mp4", speed=1.5, seed=9, fast=3.0))


def values(detector: MotionAttributesDetector, shown: Sequence[np.ndarray], times: Sequence[float]) -> np.ndarray:
    source: Any = Shown(shown, times)
    return scored_curve(detector, source).values


def clock(count: int, rate: float = RATE) -> np.ndarray:
    return np.arange(count) / rate


def test_pictures_that_arrive_late_or_in_pairs_move_no_faster(
    detector: MotionAttributesDetector, normal: list[np.ndarray], rush: list[np.ndarray]
) -> None:
    late = clock(len(normal)) + np.random.default_rng(0).uniform(0, 0.7 / RATE, len(normal))
    pairs = clock(len(normal))
    pairs[1::2] = pairs[::2] + 0.1 / RATE
    even = values(detector, normal, clock(len(normal))).max()
    for times in (late, pairs):
        assert values(detector, normal, times).max() < even + 2
    assert values(detector, rush, late)[24:].min() > 8


def test_a_picture_that_is_shown_again_moves_nothing(
    detector: MotionAttributesDetector, normal: list[np.ndarray], rush: list[np.ndarray]
) -> None:
    even = values(detector, normal, clock(len(normal))).max()
    twice = [each ^ np.uint8(k) for each in normal for k in (0, 1)]  # the second is encoded a little otherwise
    assert values(detector, twice, clock(len(twice), 2 * RATE)).max() < even + 2
    frozen = [*normal[:12], *[normal[12]] * 4, *normal[16:]]
    assert values(detector, frozen, clock(len(frozen))).max() < even + 2
    again = [each for each in rush for _ in range(2)]
    assert values(detector, again, clock(len(again), 2 * RATE))[50:].min() > 8


def test_one_picture_and_counted_seconds_are_refused_not_called_normal(
    detector: MotionAttributesDetector, rush: list[np.ndarray], tmp_path: Path
) -> None:
    for k, each in enumerate(rush[:20]):
        cv2.imwrite(str(tmp_path / f"{k}.png"), each[..., ::-1])
    with pytest.raises(DataError, match="at least two frames"):
        scored_curve(detector, open_source(tmp_path / "0.png"))
    with pytest.raises(DataError, match=r"at least 1 s apart.*--fps"):
        scored_curve(detector, open_source(tmp_path))
    assert len(scored_curve(detector, open_source(tmp_path, fps=RATE)).values) == 20


def test_a_picture_of_another_size_is_looked_at_as_those_that_were_learnt(
    detector: MotionAttributesDetector, normal: list[np.ndarray], rush: list[np.ndarray]
) -> None:
    for scale in (0.5, 2.0):
        quiet, fast = (
            values(
                detector,
                [cv2.resize(each, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for each in shown],
                clock(len(shown)),
            )
            for shown in (normal, rush)
        )
        assert quiet.max() < 3
        assert fast[24:].min() > 8


def test_a_picture_of_another_shape_is_doubted(detector: MotionAttributesDetector, normal: list[np.ndarray]) -> None:
    source: Any = Shown([each[:, 40:] for each in normal[:14]], clock(14))
    for _, window in scored(detector, source):
        (doubt,) = window.doubts
        assert "1.58 times as wide as high, that of the learnt footage was 2.00 times" in doubt


def test_a_camera_that_moves_is_said_in_sentence_certificate_and_record(
    detector: MotionAttributesDetector, normal: list[np.ndarray], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    for k, each in enumerate(normal[:16]):
        moved = np.roll(each, tuple(rng.integers(-4, 5, 2)), axis=(0, 1))
        cv2.imwrite(str(tmp_path / f"{k:02}.png"), moved[..., ::-1])
    source = open_source(tmp_path, fps=RATE)
    judged = judge(detector, source, threshold=LIMIT)
    (told,) = (record(detector, source, judged, case) for case in cases(judged))
    assert told.outcome.warnings[-1] == SHAKEN
    found = detector.evidence(next(detector.windows.cut(source)))
    assert found.certificate.flags == (SHAKEN,)
    assert found.extra["sentence"].startswith("Nearly the whole picture moves")


def test_the_usual_scene_is_widened_by_what_is_learnt_and_unknown_to_older_detectors(
    detector: MotionAttributesDetector, films: list[Sample]
) -> None:
    assert detector.scene.size == (96, 192)
    assert 0 < detector.scene.moving < 0.5
    crowded = detector.scene.learnt((48, 96), 0.95)
    assert crowded.size == (96, 192)
    assert crowded.shaken(1.0)
    assert not crowded.shaken(0.95)
    older = TINY.build()
    older.known.load_state_dict(detector.known.state_dict())
    older.facts = {name: fact for name, fact in detector.facts.items() if name != "scene"}
    assert older.scene.doubts((9, 9), 1.0) == ()
    one, other = (scored_curve(each, films[0].open()).values for each in (detector, older))
    np.testing.assert_array_equal(one, other)
