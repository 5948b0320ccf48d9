"""What remove and retrain takes from clips, and that a network learns only what is left."""

import numpy as np
import pytest

from vidence.attribution import Gradient
from vidence.errors import ShapeError, SpecError
from vidence.evaluate.controls import RandomMap
from vidence.evaluate.retraining import LabelledClips, Parts, accuracy, maps, trained, without
from vidence.models.cnn_rnn import CnnRnn
from vidence.training.schedule import Schedule

SETTINGS = CnnRnn(backbone="small", size=32, length=2, stride=2, rate=0.0, units=4)


def clips(n, seed=0):
    """Class 1 has a bright square where class 0 has a dark one; all else is noise."""
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(90, 160, (n, 2, 32, 32, 3)).astype(np.uint8), np.arange(n) % 2
    pixels[labels == 1, :, 8:24, 8:24] = 250
    pixels[labels == 0, :, 8:24, 8:24] = 5
    return LabelledClips(pixels, labels)


def exact(n):
    values = np.zeros((n, 2, 32, 32))
    values[:, :, 8:24, 8:24] = 1
    return values


GREY = np.array([1, 2, 3], np.uint8)


def test_the_strongest_pixels_of_the_volume_go_or_stay():
    given, rng = clips(3), np.random.default_rng(1)
    values = rng.normal(size=(3, 2, 32, 32))
    left, kept = (without(given, values, 0.25, mode=mode, colour=GREY, seed=0).pixels for mode in ("remove", "keep"))
    for i in range(3):
        gone = values[i] >= np.sort(values[i].reshape(-1))[-512]
        assert (left[i][gone] == GREY).all()
        assert (left[i][~gone] == given.pixels[i][~gone]).all()
        assert (kept[i][~gone] == GREY).all()
        assert (kept[i][gone] == given.pixels[i][gone]).all()


def test_ties_are_drawn_and_nothing_goes_at_zero():
    given, flat = clips(1), np.zeros((1, 2, 32, 32))
    assert (without(given, flat, 0, mode="remove", colour=GREY, seed=0).pixels == given.pixels).all()
    draws = [without(given, flat, 0.5, mode="remove", colour=GREY, seed=seed).pixels for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_no_two_parts_have_a_pattern_in_common():
    part = clips(2)
    flat = np.zeros((2, 2, 32, 32))
    changed = Parts(part, part, part).without([flat] * 3, 0.5, mode="remove", seed=0)
    first, second, third = (each.pixels[0] for each in changed)
    assert (first != second).any()
    assert (second != third).any()
    assert (first != third).any()


def test_a_network_learns_what_is_left_and_no_more():
    parts, schedule = Parts(clips(24), clips(8, 1), clips(24, 2)), Schedule(epochs=4, batch=4, rate=5e-3)
    told = [exact(len(part.labels)) for part in parts]
    found = {}
    for mode in ("remove", "keep"):
        changed = parts.without(told, 0.25, mode=mode, seed=0)
        network = trained(SETTINGS, changed, schedule, classes=2, seed=0)
        found[mode] = accuracy(network, changed.test)
    assert found["keep"] == 1
    assert found["remove"] < 0.8


def test_what_goes_takes_one_colour_in_all_clips():
    parts = Parts(clips(4), clips(2, 1), clips(4, 2))
    gone = parts.without([exact(len(part.labels)) for part in parts], 0.25, mode="remove", seed=0)
    assert {tuple(each) for part in gone for each in part.pixels[:, :, 8:24, 8:24].reshape(-1, 3)} == {
        tuple(parts.train.colour)
    }


def test_maps_are_of_the_class_that_is_found_and_noise_is_drawn_for_each_clip():
    given = clips(2)
    network = trained(SETTINGS, Parts(given, given, given), Schedule(epochs=1, batch=2), classes=2, seed=0)
    assert maps(Gradient(), network, given, seed=0).shape == (2, 2, 32, 32)
    noise = maps(RandomMap(), network, given, seed=5)
    assert (noise[0] != noise[1]).any()
    assert (noise == maps(RandomMap(), network, given, seed=5)).all()


def test_what_is_no_share_or_map_is_refused():
    with pytest.raises(SpecError, match="share"):
        without(clips(1), exact(1), 2, mode="remove", colour=GREY, seed=0)
    with pytest.raises(ShapeError, match="maps must be"):
        without(clips(2), exact(1), 0.5, mode="remove", colour=GREY, seed=0)
