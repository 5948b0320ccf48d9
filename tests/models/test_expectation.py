"""What was expected, in the source's own pixels."""

from __future__ import annotations

import numpy as np
import torch

from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.models.expectation import GRAY, expectation
from vidence.models.reconstruction import Reconstruction, coloured
from vidence.record.facts import ClipRef


def film(t: int = 3) -> Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (t, 24, 40, 3), dtype=np.uint8)
    return Clip(ClipRef("a.mp4", "0" * 64, 0, tuple(k / 10 for k in range(t))), pixels)


def test_a_perfect_reconstruction_of_a_crop_is_the_crop() -> None:
    fit = Fit(16, crop=(4, 8, 16, 16))
    shot = film()
    found = expectation(Reconstruction(fit(shot)), fit(shot), shot, fit)
    assert found.box == (4, 8, 16, 16)
    np.testing.assert_array_equal(found.seen, shot.pixels[:, 4:20, 8:24])
    np.testing.assert_array_equal(found.expected["reconstruction"], found.seen)
    assert not found.residual.any()
    assert found.attention is None
    assert found.times.tolist() == list(shot.times)
    pixels, words = found.reference(shot)
    np.testing.assert_array_equal(pixels, shot.pixels)
    assert "reconstructed" in words


def test_the_residual_is_a_share_of_the_full_range_where_it_belongs() -> None:
    fit = Fit(16, "letterbox")
    shot = film()
    x = fit(shot)
    x_hat = x.clone()
    x_hat[:, :, 1, 7, 4] = 1 - x_hat[:, :, 1, 7, 4]  # column 4 of 16 lies over 40 pixels: 10 to 12.5
    found = expectation(Reconstruction(x_hat), x, shot, fit)
    assert found.residual.shape == (3, 24, 40)
    difference = (x - x_hat)[0, :, 1, 7, 4]
    assert not found.residual[[0, 2]].any()
    top, left = np.unravel_index(found.residual[1].argmax(), (24, 40))
    assert 10 <= left <= 12
    assert 7 <= top <= 10  # the content fills rows 3 to 12, 24 pixels
    assert found.residual.max() <= float(difference.square().mean().sqrt()) + 1e-6


def test_gray_networks_see_gray_and_answer_in_gray() -> None:
    fit, shot = Fit(16, crop=(0, 0, 16, 16)), film()
    gray = coloured(fit(shot), 1)
    found = expectation(Reconstruction(gray), fit(shot), shot, fit)
    assert (np.ptp(found.seen, axis=3) == 0).all()
    assert np.abs(found.expected["reconstruction"].astype(int) - found.seen).max() <= 1
    assert found.residual.max() < 1e-6


def test_two_heads_are_shown_apart_and_silence_is_gray() -> None:
    fit, shot = Fit(16), film(4)
    x = fit(shot)
    mask = torch.rand(1, 2, 16, 16)
    output = Reconstruction(x[:, :, :2], attention=mask, prediction=Reconstruction(x[:, :, 3:], first_frame=3))
    found = expectation(output, x, shot, fit)
    assert list(found.expected) == ["reconstruction", "prediction"]
    assert (found.expected["prediction"][:3] == GRAY).all()
    assert (found.expected["reconstruction"][2:] == GRAY).all()
    assert found.attention is not None
    assert found.attention[:2].any()
    assert not found.attention[2:].any()
    still, words = found.reference(shot)
    np.testing.assert_array_equal(still[0], np.median(shot.pixels, axis=0).astype(np.uint8))
    assert "median" in words


def test_a_predictor_shows_what_it_predicted() -> None:
    fit, shot = Fit(16), film()
    x = fit(shot)
    found = expectation(Reconstruction(x[:, :, :2], first_frame=1), x, shot, fit)
    assert list(found.expected) == ["prediction"]
    assert found.times.tolist() == [0.1, 0.2]
    assert found.residual.any()
