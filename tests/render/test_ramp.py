import numpy as np
import pytest
from matplotlib import colormaps

from vidence.errors import ShapeError
from vidence.render.ramp import AGAINST, TOWARDS, colour

# Machado, Oliveira, Fernandes 2009, severity 1.0, in linear RGB
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(rgb):
    share = np.asarray(rgb, dtype=np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(light):
    ratio = np.clip(light, 0, 1) @ XYZ.T / [0.9505, 1.0, 1.089]
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@pytest.mark.parametrize(
    ("table", "name", "low", "high"), [(TOWARDS, "inferno", 0.44, 0.97), (AGAINST, "Blues_r", 0, 0.75)]
)
def test_the_stored_colours_are_matplotlibs(table, name, low, high):
    there = colormaps[name](np.linspace(low, high, 256))[:, :3] * 255
    assert np.abs(table - there).max() < 8


@pytest.mark.parametrize("table", [TOWARDS, AGAINST])
def test_lightness_rises_all_along(table):
    lightness = lab(linear(table))[:, 0]
    assert (np.diff(lightness[::8]) > 0).all()
    assert lightness[-1] - lightness[0] > 50


@pytest.mark.parametrize("deficiency", [None, *DEFICIENCIES])
def test_for_and_against_stay_apart_for_every_eye(deficiency):
    seen = np.eye(3) if deficiency is None else np.array(DEFICIENCIES[deficiency])
    difference = np.linalg.norm(lab(linear(TOWARDS) @ seen.T) - lab(linear(AGAINST) @ seen.T), axis=1)
    assert difference.min() > 20


def test_colour_refuses_a_level_beyond_the_peak():
    assert colour(1, 1) == tuple(TOWARDS[-1])
    assert colour(0, -1) == tuple(AGAINST[0])
    with pytest.raises(ShapeError, match=r"in \[0, 1\]; got 1.5"):
        colour(1.5, 1)
