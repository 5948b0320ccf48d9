"""Adapting: which footage is taken, what is held out, what is written down, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vidence.datasets.dataset import Sample
from vidence.datasets.synthetic import encode
from vidence.errors import DataError, SpecError
from vidence.models import MotionAttributes, load_detector
from vidence.models.one_class import OneClass
from vidence.models.reconstruction import frame_errors
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.scoring.thresholds import Fixed, Quantile, ThresholdRule
from vidence.training.adaptation import adapted, adapted_on, divided, error_quantiles, footage_at, history, rule_again
from vidence.training.svdd_step import Tuning


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two videos of 10 frames and a note."""
    place, random = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for number in range(2):
        encode(place / f"film{number}.mp4", random.integers(0, 256, (10, 32, 32, 3)).astype(np.uint8), rate=10.0)
    (place / "notes.txt").write_text("monday")
    return place


@pytest.fixture(scope="module")
def given(tiny_autoencoder: type[Any]) -> ReconstructionDetector:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made: ReconstructionDetector = tiny_autoencoder().build()
    made.threshold = {"value": 0.5, "rule": "false-alarm-budget(per_hour=3600.0)", "origin": "", "warnings": []}
    return made


def test_footage_is_found(films: Path, tmp_path: Path) -> None:
    assert [Path(each.path).name for each in footage_at(films)] == ["film0.mp4", "film1.mp4"]
    assert footage_at(films / "film1.mp4") == [Sample(str(films / "film1.mp4"), "normal", "film1.mp4")]
    frames = tmp_path / "frames"
    frames.mkdir()
    for t in range(3):
        cv2.imwrite(str(frames / f"{t}.png"), np.zeros((8, 8, 3), np.uint8))
    assert footage_at(frames, fps=5.0) == [Sample(str(frames), "normal", "frames", fps=5.0)]
    (tmp_path / "clips.csv").write_text(f"file,label\n{films}/film0.mp4,normal\n{films}/film1.mp4,fight\n")
    assert [Path(each.path).name for each in footage_at(tmp_path / "clips.csv")] == ["film0.mp4"]
    with pytest.raises(DataError):
        footage_at(tmp_path / "absent")


def test_a_fifth_is_held_out(films: Path) -> None:
    many = [Sample(f"{number}.mp4", "normal", str(number)) for number in range(10)]
    kept, held = divided(many, seed=1)
    assert (len(kept), len(held)) == (8, 2)
    assert sorted([*kept, *held], key=many.index) == many
    assert divided(many, seed=1) == (kept, held)
    assert divided(many, seed=2) != (kept, held)
    (whole,) = footage_at(films / "film0.mp4")
    first, last = divided([whole])
    assert (first[0].frames, last[0].frames) == ((0, 8), (8, 10))
    again = divided([replace(whole, frames=(2, 7))])
    assert (again[0][0].frames, again[1][0].frames) == ((2, 6), (6, 7))
    with pytest.raises(DataError, match="one picture"):
        divided([replace(whole, frames=(0, 1))])


def test_an_adapted_detector(films: Path, given: ReconstructionDetector, tmp_path: Path) -> None:
    first, second = footage_at(films)
    found = adapted(given, [first], [second], how=Tuning(rate=1e-4, epochs=2))
    assert isinstance(found.network, OneClass)
    assert found.spec == "tiny(svdd='tuned')"
    assert found.threshold is not None
    assert found.threshold["rule"] == "false-alarm-budget(per_hour=3600.0)"  # the rule that it had
    assert found.facts["calibration"]["frames"] == 10
    (entry,) = found.facts["history"]
    assert (entry["step"], entry["from"], entry["old"]) == ("adapt", given.weights_digest, None)
    assert entry["svdd"]["epochs"] == 2
    assert entry["sources"] == sorted([first.open().digest, second.open().digest])
    assert "svdd" not in given.facts
    found.save(tmp_path)
    held = load_detector(tmp_path)
    again = adapted(held, [second], [first], old=[second], how=Tuning(rate=1e-4, epochs=1))
    assert isinstance(again.network, OneClass)
    assert torch.equal(again.network.centre, found.network.centre)  # kept
    assert [each["from"] for each in again.facts["history"]] == [given.weights_digest, found.weights_digest]
    assert again.facts["calibration"]["frames"] == 20
    assert again.facts["history"][1]["svdd"]["centre"] == "kept"


def test_what_was_adapted_on_is_known_again(films: Path, given: ReconstructionDetector) -> None:
    first, second = footage_at(films)
    assert adapted_on(given, [first, second]) == []
    learnt, held = divided([first])
    steps = history(given, learnt, held, [])
    later = ReconstructionDetector(given.settings, given.network, facts={"history": [{"step": "older"}, *steps]})
    assert adapted_on(later, [second, first, *held]) == [first, *held]


@pytest.mark.parametrize(
    ("threshold", "rule"),
    [
        (None, Quantile(0.99)),
        ({"rule": "best-f1", "value": 3.0}, Quantile(0.99)),
        ({"rule": "quantile(q=0.9)", "value": 3.0}, Quantile(0.9)),
        ({"rule": "fixed(value=3.0)", "value": 3.0}, Fixed(3.0)),
        ({"rule": "fixed", "value": 3.0}, Fixed(3.0)),  # set by hand
    ],
)
def test_which_rule_chooses_the_threshold_again(threshold: dict[str, Any] | None, rule: ThresholdRule) -> None:
    detector = MotionAttributes().build()
    detector.threshold = threshold
    assert rule_again(detector) == rule


def test_error_quantiles(films: Path, given: ReconstructionDetector) -> None:
    samples = footage_at(films)
    scaled = ReconstructionDetector(given.settings, given.network, facts={"calibration": {"low": 5.0, "high": 9.0}})
    found = error_quantiles(scaled, samples)  # raw errors, whatever the scale
    errors = []
    for sample in samples:
        for clip in given.windows.cut(sample.open()):
            x = given.prepare(clip)
            with torch.no_grad():
                errors.append(frame_errors(given.network(x), x, "squared-error")[0])
    values = torch.cat(errors).numpy()
    assert found == pytest.approx({f"{q:g}": float(np.quantile(values, q)) for q in (0.5, 0.9, 0.99)}, rel=1e-5)


def test_what_cannot_be_adapted(films: Path, given: ReconstructionDetector, detector_folder: Path) -> None:
    samples = footage_at(films)
    for other, key in ((load_detector(detector_folder), "cnn-rnn"), (MotionAttributes().build(), "motion-attributes")):
        with pytest.raises(SpecError, match=f"this one is {key}"):
            adapted(other, samples[:1], samples[1:])
    with pytest.raises(DataError, match="0"):
        adapted(given, [], samples)
    with pytest.raises(DataError, match=r"notes\.txt.*with the columns file, label"):
        footage_at(films / "notes.txt")
