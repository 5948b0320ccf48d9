"""The pictures show what they should: a panel per video, the truth shaded, curves where there are both kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vidence.datasets.dataset import Sample
from vidence.evaluate import detection_plots
from vidence.evaluate.detection_plots import write_roc, write_timeline
from vidence.evaluate.evaluation import Evaluation
from vidence.evaluate.tracks import Track


def track(name: str, truth: str, *, seed: int = 0) -> Track:
    anomalous = np.array([each == "1" for each in truth])
    rng, frames = np.random.default_rng(seed), np.arange(len(truth))
    live = anomalous + rng.normal(0, 0.2, len(truth))
    sample = Sample(f"test/{name}", "cart" if anomalous.any() else "normal", name)
    return Track(sample, frames, live, live * 50 + 3, frames / 10, anomalous, np.empty((0, 0)), 0.7)


def found(*tracks: Track, threshold: float | None = 0.5) -> Evaluation:
    held: dict[str, Any] | None = None if threshold is None else {"value": threshold}
    return Evaluation(tracks, held, {}, {}, {})


VIDEOS = [track(f"{i}.mp4", "0" * 20 + "1" * (10 + i) + "0" * 10, seed=i) for i in range(7)]


def picture(path: Path) -> np.ndarray:
    read = cv2.imread(str(path))
    assert read is not None
    return read[..., ::-1]


def share(pixels: np.ndarray, colour: tuple[int, int, int], *, near: int = 12) -> float:
    return float((np.abs(pixels.astype(int) - colour).max(axis=-1) <= near).mean())


SHADED = (252, 232, 200)  # SHADE at its alpha, on white


def test_the_truth_is_shaded(tmp_path: Path) -> None:
    write_timeline(tmp_path / "none.png", found(track("a.mp4", "0" * 50)))
    write_timeline(tmp_path / "half.png", found(track("a.mp4", "0" * 25 + "1" * 25)))
    write_timeline(tmp_path / "all.png", found(track("a.mp4", "1" * 50)))
    shares = [share(picture(tmp_path / f"{name}.png"), SHADED) for name in ("none", "half", "all")]
    assert shares[0] < 0.001
    assert shares[1] == pytest.approx(shares[2] / 2, rel=0.15)


def test_every_video_has_its_panel(tmp_path: Path) -> None:
    write_timeline(tmp_path / "three.png", found(*VIDEOS[:3]))
    write_timeline(tmp_path / "seven.png", found(*VIDEOS))
    three, seven = picture(tmp_path / "three.png"), picture(tmp_path / "seven.png")
    assert three.shape[1] == seven.shape[1]
    assert seven.shape[0] > 2 * three.shape[0]
    write_timeline(tmp_path / "one.png", found(VIDEOS[0], threshold=None))
    assert picture(tmp_path / "one.png").shape[1] < three.shape[1] / 2


def test_of_many_videos_the_first_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection_plots, "MOST", 3)
    write_timeline(tmp_path / "few.png", found(*VIDEOS[:3]))
    write_timeline(tmp_path / "many.png", found(*VIDEOS))
    assert picture(tmp_path / "many.png").shape == picture(tmp_path / "few.png").shape


def test_a_video_that_is_too_short_for_a_score_has_an_empty_panel(tmp_path: Path) -> None:
    empty = replace(VIDEOS[0], frames=np.empty(0, int), live=np.empty(0), raw=np.empty(0))
    write_timeline(tmp_path / "empty.png", found(empty, VIDEOS[1]))
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_pictures_are_dots_above_their_label(tmp_path: Path) -> None:
    normal = [track(f"{i}.png", "0", seed=i) for i in range(20)]
    marred = [track(f"{i}.png", "1", seed=i) for i in range(20, 40)]
    write_timeline(tmp_path / "dots.png", found(*normal, *marred))
    pixels = picture(tmp_path / "dots.png")
    assert share(pixels, (102, 170, 209), near=20) > 0.0001  # see-through, on white
    assert share(pixels, (230, 158, 102), near=20) > 0.0001


def test_both_curves_are_drawn_and_one_kind_of_frame_has_none(tmp_path: Path) -> None:
    write_roc(tmp_path / "roc.png", found(*VIDEOS))
    write_roc(tmp_path / "none.png", found(track("a.mp4", "1" * 30)))
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert share(picture(tmp_path / "roc.png"), colour) > 0.00003
        assert share(picture(tmp_path / "none.png"), colour) == 0
