"""Clips are drawn by seed, spread over classes and sources, and come with their truth on the network's grid."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidence.datasets.folder import Folder
from vidence.datasets.ucsd import UcsdPed2
from vidence.errors import DataError
from vidence.evaluate.explained_clips import known_clips, on_grid, sampled
from vidence.frames.transforms import Fit
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.trivial import PreviousFrame


def test_a_sample_is_spread_and_follows_its_seed(classifier: ClassifierDetector, marked_set: Folder) -> None:
    samples = marked_set.samples()
    places = sampled(classifier, marked_set, samples, 8, seed=1)
    assert Counter(place.sample.label for place in places) == {"cart": 3, "cyclist": 3, "normal": 2}
    assert {place.sample.label for place in places[:2]} == {"cart", "cyclist"}
    assert all(place.event == (place.sample.label != "normal") for place in places)
    again = sampled(classifier, marked_set, list(reversed(samples)), 8, seed=1)
    assert [place.sample for place in again] == [place.sample for place in places]
    others = [sampled(classifier, marked_set, samples, 8, seed=seed) for seed in range(2, 6)]
    assert any([place.sample for place in other] != [place.sample for place in places] for other in others)


def test_what_runs_short_is_filled_up(classifier: ClassifierDetector, marked_set: Folder) -> None:
    calm = [sample for sample in marked_set.samples() if sample.label == "normal"]
    assert len(sampled(classifier, marked_set, calm, 3)) == 3
    assert len(sampled(classifier, marked_set, marked_set.samples(), 99)) == 9
    with pytest.raises(DataError, match="at least one clip"):
        sampled(classifier, marked_set, calm, 0)


def test_masks_lie_on_the_networks_grid(classifier: ClassifierDetector, marked_set: Folder) -> None:
    places = sampled(classifier, marked_set, marked_set.samples(), 9)
    found = list(known_clips(classifier, marked_set, places))
    assert len(found) == 9
    for known in found:
        sample = next(s for s in marked_set.samples() if s.open().digest == known.clip.ref.digest)
        truth = np.load(str(sample.mask))["mask"]
        assert known.mask is not None
        assert known.mask.shape == tuple(known.x.shape[2:])
        assert known.known == "pixels"
        assert known.event == bool(known.mask.any()) == (known.label != "normal")
        assert (known.mask.any(axis=(1, 2)) == truth.any(axis=(1, 2))).all()
        assert known.mask.mean() == pytest.approx(truth.mean(), abs=0.01)


@pytest.mark.parametrize("fit", [Fit(size=8), Fit(size=8, mode="letterbox"), Fit(size=8, crop=(2, 4, 12, 16))])
def test_a_grid_cell_is_what_its_centre_shows(fit: Fit) -> None:
    masks = np.random.default_rng(0).random((2, 16, 32)) < 0.5
    affine = fit.to_source((16, 32), (8, 8))
    top, left, height, width = fit.seen((16, 32))
    found = on_grid(masks, fit)
    for i, j in np.ndindex(8, 8):
        y, x = int(np.rint(affine[1, 1] * i + affine[1, 2])), int(np.rint(affine[0, 0] * j + affine[0, 2]))
        inside = top <= y < top + height and left <= x < left + width
        assert (found[:, i, j] == (masks[:, y, x] if inside else False)).all()


def test_frames_and_labels_are_truths_too(tiny_ped2: Path) -> None:
    dataset = UcsdPed2(str(tiny_ped2))
    detector = PreviousFrame(channels=1, size=32, length=5, smooth=1).build()
    bare = [replace(sample, mask=None) for sample in dataset.split("test")]
    places = sampled(detector, dataset, bare, 12)
    assert len({place.sample for place in places}) == 4
    found = list(known_clips(detector, dataset, places))
    assert {known.known for known in found} == {"frames", "label"}
    for known in found:
        if known.mask is None:
            assert known.event
            continue
        whole = known.mask.all(axis=(1, 2))
        assert (whole == known.mask.any(axis=(1, 2))).all()
        assert known.event == bool(whole.any())
