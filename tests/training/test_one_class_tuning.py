"""Detectors with a centre: tuned after, trained jointly, from scratch; what each changes, writes down and refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from elsewhere import elsewhere
from vidence.datasets.dataset import Sample
from vidence.errors import DataError, SpecError
from vidence.frames.source import open_source
from vidence.models import load_detector
from vidence.models.one_class import OneClass
from vidence.models.reconstruction_detector import Recipe, ReconstructionDetector
from vidence.scoring.run import judge
from vidence.training.calibration import pixel_errors
from vidence.training.clips import clips_of
from vidence.training.normal import fit_normal
from vidence.training.one_class_tuning import footages, tune
from vidence.training.schedule import Schedule
from vidence.training.svdd_step import TUNINGS, Tuning, codes, tuner_of

SCHEDULE = Schedule(epochs=3, batch=8, rate=0.02, decay=0.0, patience=None, plateau=0, factor=0.5)


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Three videos of 10 frames in which a bright square moves."""
    root, made = tmp_path_factory.mktemp("walks"), []
    for number in range(3):
        folder = root / f"walk{number}"
        folder.mkdir()
        for t in range(10):
            pixels = np.full((16, 16, 3), 60, np.uint8)
            left = (3 * t + 5 * number) % 12
            pixels[4:8, left : left + 4] = 200
            cv2.imwrite(str(folder / f"{t:02d}.png"), pixels)
        made.append(Sample(str(folder), "normal", folder.name))
    return made


Fitted = Callable[..., ReconstructionDetector]


@pytest.fixture(scope="module")
def fitted(walks: list[Sample], tiny_autoencoder: type[Any], tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    place = tmp_path_factory.mktemp("fits")

    def fit(**settings: Any) -> ReconstructionDetector:
        return fit_normal(
            tiny_autoencoder(**settings),
            walks[:2],
            walks[2:],
            out=place / "out",
            schedule=SCHEDULE,
            progress=False,
            cache=place / "cache",
        )

    return fit


@pytest.fixture(scope="module")
def given(fitted: Fitted) -> ReconstructionDetector:
    """A detector without a centre."""
    return fitted()


def state(detector: ReconstructionDetector, part: str) -> dict[str, Tensor]:
    """Tensors of a part of the innermost network, by their names in it."""
    held = detector.network.state_dict()
    held = {name.removeprefix("network."): value for name, value in held.items()}
    return {name: value.clone() for name, value in held.items() if name.startswith(part)}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_tuning_leaves_the_decoder_and_the_given_detector(
    walks: list[Sample], given: ReconstructionDetector, tmp_path: Path
) -> None:
    before, facts = given.weights_digest, dict(given.facts)
    found = tune(given, walks[:2], walks[2:], Tuning(rate=1e-2, epochs=3), score="centre-distance")
    given.remember(None)
    assert (given.weights_digest, given.facts) == (before, facts)
    assert same(state(found, "decoder"), state(given, "decoder"))
    assert not same(state(found, "encoder"), state(given, "encoder"))
    assert found.spec == "tiny(score='centre-distance', svdd='tuned')"
    assert found.facts["svdd"]["variance_after"] < found.facts["svdd"]["variance_before"]
    assert found.facts["metrics"]["val"]["mse"] > given.facts["metrics"]["val"]["mse"]
    values = judge(found, open_source(walks[2].path), threshold=0.0).curve.values
    assert np.median(values) == pytest.approx(0, abs=1e-4)  # calibrated on its own score
    found.save(tmp_path / "tuned")
    again = load_detector(tmp_path / "tuned")
    assert isinstance(again, ReconstructionDetector)
    assert again.facts == found.facts
    assert same(again.network.state_dict(), found.network.state_dict())


def test_the_last_layer_alone(walks: list[Sample], given: ReconstructionDetector) -> None:
    found = tune(given, walks[:2], walks[2:], Tuning(rate=1e-2, epochs=1, scope="last"))
    changed = [
        name for name, value in state(found, "").items() if not torch.equal(value, state(given, "").get(name, value))
    ]
    assert changed == ["encoder.1.weight", "encoder.1.bias"]


def test_tuned_right_after_the_training(walks: list[Sample], fitted: Fitted, given: ReconstructionDetector) -> None:
    """The setting does what training and tuning one after the other do."""
    both = fitted(svdd="tuned")
    apart = tune(given, walks[:2], walks[2:])
    assert same(both.network.state_dict(), apart.network.state_dict())
    assert both.facts["calibration"] == pytest.approx(apart.facts["calibration"])


@pytest.mark.parametrize("recipe", list(TUNINGS))
def test_the_recipe_says_how_where_nothing_else_does(
    walks: list[Sample], tiny_autoencoder: type[Any], recipe: Recipe, tmp_path: Path
) -> None:
    settings, options = tiny_autoencoder(recipe=recipe), {"schedule": SCHEDULE, "progress": False}
    detector = settings.build()
    after = tune(detector, walks[:2], walks[2:])
    both = fit_normal(replace(settings, svdd="tuned"), walks[:2], walks[2:], out=tmp_path, **options)
    for facts in (after.facts["svdd"], both.facts["svdd"]):
        assert facts.items() >= vars(TUNINGS[recipe]).items()
    now = state(after, "")
    changed = {name for name, value in state(detector, "").items() if not torch.equal(value, now[name])}
    assert (changed == {"encoder.1.weight", "encoder.1.bias"}) == (recipe == "thesis")
    assert ("encoder.0.1.running_mean" in changed) == (recipe == "released")


def test_joint_training_draws_codes_to_the_centre(walks: list[Sample], fitted: Fitted) -> None:
    loose, close = (fitted(svdd="joint", svdd_weight=weight, score="centre-distance") for weight in (1e-9, 1.0))
    distances = []
    for detector in (loose, close):
        with footages(detector, [walks[:2]], cache=None) as (footage,):
            assert isinstance(detector.network, OneClass)
            assert float(detector.network.centre.abs().min()) >= 0.1  # off zero
            distances.append((codes(detector.network, clips_of(detector, footage)) - detector.network.centre).norm())
    assert distances[1] < 0.8 * distances[0]
    assert torch.equal(loose.network.centre, close.network.centre)  # that of the same untrained network
    assert {"centre", "variance_before", "variance_after"} <= close.facts["svdd"].keys()


def test_from_scratch_no_decoder_is_trained(fitted: Fitted) -> None:
    found = fitted(svdd="scratch", score="centre-distance")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = replace(found.settings).build()
    assert same(state(found, "decoder"), state(untrained, "decoder"))
    assert not same(state(found, "encoder"), state(untrained, "encoder"))
    assert found.facts["svdd"]["variance_after"] < found.facts["svdd"]["variance_before"]


def test_a_centre_is_kept_where_there_is_one(walks: list[Sample], given: ReconstructionDetector) -> None:
    first = tune(given, walks[:2], walks[2:], Tuning(epochs=1))
    again = tune(first, walks[1:], walks[:1], Tuning(rate=1e-3, epochs=1, centre="kept"))
    moved = tune(first, walks[1:], walks[:1], Tuning(rate=1e-3, epochs=1))
    assert torch.equal(again.network.centre, first.network.centre)
    assert not torch.equal(moved.network.centre, first.network.centre)


def test_pixel_errors_are_measured_where_the_network_is(walks: list[Sample], given: ReconstructionDetector) -> None:
    network = copy.deepcopy(given.network)
    with footages(given, [walks], cache=None) as (footage,):
        clips, mean = clips_of(given, footage), footage.mean()
        here = pixel_errors(network, clips, mean)
        with elsewhere() as far:
            assert pixel_errors(network.to(far), clips, mean) == pytest.approx(here, rel=1e-5)


def test_mistakes_are_told(walks: list[Sample], given: ReconstructionDetector) -> None:
    with pytest.raises(DataError, match="2 and 0"):
        tune(given, walks[:2], [])
    with footages(given, [walks], cache=None) as (footage,), pytest.raises(SpecError, match="has none"):
        tuner_of(given, clips_of(given, footage), Tuning(centre="kept"))
