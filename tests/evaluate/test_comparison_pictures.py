"""Pictures of a comparison: which clips and frames are shown, and that what is drawn is where it belongs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidence.datasets.dataset import Sample
from vidence.datasets.folder import Folder
from vidence.evaluate.comparison_pictures import STRIP, Examples, chosen, example_name, picture, told_frame, write_ranks
from vidence.evaluate.explained_clips import KnownClip, Place, known_clips, sampled
from vidence.evaluate.leaderboard import Standing
from vidence.models.classifier_detector import ClassifierDetector


@pytest.fixture(scope="module")
def places(classifier: ClassifierDetector, marked_set: Folder) -> tuple[Place, ...]:
    return sampled(classifier, marked_set, marked_set.samples(), 6)


@pytest.fixture(scope="module")
def known(classifier: ClassifierDetector, marked_set: Folder, places: tuple[Place, ...]) -> KnownClip:
    return next(known_clips(classifier, marked_set, chosen(places)))


def test_clips_with_an_event_are_shown_each_of_another_source(places: tuple[Place, ...]) -> None:
    shown = chosen(places)
    assert shown == tuple(place for place in places if place.event)[:3]
    assert chosen([*shown[:1], *shown[:1], *shown[1:]]) == shown
    quiet = [place for place in places if not place.event]
    assert chosen(quiet) == tuple(quiet)


def test_sources_of_one_name_have_pictures_of_their_own(places: tuple[Place, ...]) -> None:
    samples = [Sample(f"{label}/001.mp4", label, "") for label in ("fight", "fall")]
    names = [example_name(replace(places[0], sample=sample, first=8)) for sample in samples]
    assert [name.startswith("001-8-") for name in names] == [True, True]
    assert names[0] != names[1]


def test_the_frame_shows_most_of_the_event(known: KnownClip) -> None:
    assert known.mask is not None
    assert told_frame(known) == known.mask.sum(axis=(1, 2)).argmax()


def test_the_map_is_drawn_over_its_place_and_its_frames_below(known: KnownClip, classifier: ClassifierDetector) -> None:
    values = np.zeros(known.x.shape[2:], np.float32)
    frame = told_frame(known)
    values[frame, 8:16, 16:24] = 1.0
    plain, drawn = (picture(known, each, classifier.fit, frame).astype(int) for each in (None, values))
    change = np.abs(drawn - plain)[:-STRIP].sum(axis=2)
    h, w = change.shape
    inside = change[h // 4 : h // 2, w // 2 : 3 * w // 4]
    assert inside.mean() > 20 * np.delete(change, range(w // 2 - 20, 3 * w // 4 + 20), axis=1).mean()
    strip = np.abs(drawn - plain)[-STRIP + 4].sum(axis=1) > 0
    assert (np.flatnonzero(strip) // (w / len(values))).astype(int).tolist() == [frame] * int(strip.sum())


def test_lone_strong_pixels_are_seen(known: KnownClip, classifier: ClassifierDetector) -> None:
    values = np.zeros((len(known.clip.times), 128, 128), np.float32)
    values[0, 32:64:8, 64:96:8] = 1.0  # a pixel in 64 of one place
    plain, drawn = (picture(known, each, classifier.fit, 0).astype(int) for each in (None, values))
    h, w = plain.shape[0] - STRIP, plain.shape[1]
    change = np.abs(drawn - plain)[:h].sum(axis=2) > 100
    assert change[h // 4 : h // 2, w // 2 : 3 * w // 4].mean() > 0.15
    assert change.mean() < 0.08  # of the picture: hardly anything outside its sixteenth


def test_examples_are_kept_as_maps_come(known: KnownClip, classifier: ClassifierDetector, tmp_path: Path) -> None:
    examples = Examples(tmp_path, [known.place], classifier.fit)
    for line in ("gradient", "grad-cam"):
        examples.keep(known, line, np.ones(known.x.shape[2:], np.float32))
    folder = tmp_path / example_name(known.place)
    held = json.loads((folder / "about.json").read_text())
    assert list(held["maps"]) == ["gradient", "grad-cam"]
    assert held["label"] == known.label
    for name in ("input.jpg", "truth.jpg", *held["maps"].values()):
        with Image.open(folder / name) as drawn:
            assert drawn.width == 320
    Examples(tmp_path / "none", [], classifier.fit).keep(known, "gradient", np.ones(known.x.shape[2:], np.float32))
    assert not (tmp_path / "none").exists()


def test_ranks_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    held = [
        Standing("a", False, "m", "higher", 3, 3, 1.0, 0.9, 1.1, rank=1.0),
        Standing("b", True, "m", "higher", 3, 3, rank=2.0),
    ]
    assert write_ranks(tmp_path / "one.svg", held, ["a"])
    assert write_ranks(tmp_path / "two.svg", held, ["a"])
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert write_ranks(tmp_path / "turned.svg", held, ["b", "c", "a"])
    assert (tmp_path / "one.svg").read_bytes() != (tmp_path / "turned.svg").read_bytes()
    assert not write_ranks(tmp_path / "three.svg", [Standing("a", False, "m", "neither", 3, 1.0)], [])
