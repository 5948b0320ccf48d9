"""Errors of reconstructions against slow twins: numpy loops, and SSIM from its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.models.reconstruction import (
    ERRORS,
    Reconstruction,
    added,
    coloured,
    density,
    frame_errors,
    scored_frames,
    ssim_map,
)

PLACED = [name for name in ERRORS if name != "centre-distance"]


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def slow_ssim(a: np.ndarray, b: np.ndarray, y: int, x: int) -> float:
    """SSIM at one pixel: weighted moments over the 11 x 11 neighbours (Wang et al. 2004, equations 13 to 16)."""
    place = np.arange(-5, 6)
    weights = np.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    one, other = (np.pad(each, 5, mode="reflect")[y : y + 11, x : x + 11] for each in (a, b))
    mean_a, mean_b = (weights * one).sum(), (weights * other).sum()
    var_a, var_b = (weights * (one - mean_a) ** 2).sum(), (weights * (other - mean_b) ** 2).sum()
    together = (weights * (one - mean_a) * (other - mean_b)).sum()
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mean_a * mean_b + c1) * (2 * together + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def slow_errors(x: np.ndarray, x_hat: np.ndarray, error: str) -> np.ndarray:
    """The error of each frame of (n, c, t, h, w), pixel by pixel."""
    n, c, t, h, w = x.shape
    found = np.zeros((n, t))
    for i in range(n):
        for k in range(t):
            total = 0.0
            for channel in range(c):
                a, b = x[i, channel, k], x_hat[i, channel, k]
                for y in range(h):
                    for z in range(w):
                        if error == "ssim":
                            total += (1 - slow_ssim(a, b, y, z)) / (c * h * w)
                        elif error == "absolute-error":
                            total += abs(a[y, z] - b[y, z])
                        else:
                            total += (a[y, z] - b[y, z]) ** 2
            found[i, k] = 10 * np.log10(total / (c * h * w)) if error == "psnr" else total
    return found


@pytest.mark.parametrize("error", PLACED)
def test_frame_errors_equal_loops_over_pixels(error: str) -> None:
    x, x_hat = clips(2, 3, 2, 9, 8), clips(2, 3, 2, 9, 8, seed=1)
    expected = slow_errors(x.double().numpy(), x_hat.double().numpy(), error)
    torch.testing.assert_close(
        frame_errors(Reconstruction(x_hat), x, error).double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-4
    )


def test_ssim_equals_scikit_images_away_from_the_edges() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = clips(24, 20).double(), clips(24, 20, seed=1).double()
    _, expected = metrics.structural_similarity(
        a.numpy(), b.numpy(), data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    found = ssim_map(a[None, None], b[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found[5:-5, 5:-5], expected[5:-5, 5:-5], atol=1e-9)


def test_ssim_under_autocast_is_ssim() -> None:
    a, b = clips(1, 1, 16, 16) * 0.02 + 0.9, clips(1, 1, 16, 16, seed=1) * 0.02 + 0.9
    with torch.autocast("cpu", torch.bfloat16):
        found = ssim_map(a, b)
    torch.testing.assert_close(found, ssim_map(a, b), rtol=0, atol=0)


@pytest.mark.parametrize("error", PLACED)
def test_an_answer_in_bfloat16_is_compared_in_float32(error: str) -> None:
    x, x_hat = clips(1, 3, 2, 8, 8), clips(1, 3, 2, 8, 8, seed=1).bfloat16()
    found = frame_errors(Reconstruction(x_hat), x, error)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, frame_errors(Reconstruction(x_hat.float()), x, error), rtol=0, atol=0)


@pytest.mark.parametrize("error", [name for name in PLACED if name != "psnr"])
def test_the_density_sums_to_the_frames_error_and_is_zero_elsewhere(error: str) -> None:
    x = clips(2, 3, 5, 8, 8)
    output = Reconstruction(clips(2, 3, 3, 8, 8, seed=1), first_frame=1)
    found = density(output, x, error)
    assert found.shape == (2, 5, 8, 8)
    assert not found[:, [0, 4]].any()
    torch.testing.assert_close(found[:, 1:4].sum(dim=(2, 3)), frame_errors(output, x, error))
    inside = Reconstruction(output.x_hat)
    torch.testing.assert_close(found[:, 1:4], density(inside, x[:, :, 1:4], error))


def test_a_gray_reconstruction_is_compared_with_the_luma() -> None:
    x, x_hat = clips(1, 3, 2, 8, 8), clips(1, 1, 2, 8, 8, seed=1)
    luma = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    torch.testing.assert_close(coloured(x, 1)[:, 0], luma)
    torch.testing.assert_close(
        frame_errors(Reconstruction(x_hat), x, "squared-error"), (luma - x_hat[:, 0]).square().sum(dim=(2, 3))
    )
    assert coloured(x, 3) is x
    with pytest.raises(ShapeError, match="gray"):
        coloured(x, 2)
    with pytest.raises(ShapeError, match="of 1"):
        coloured(x[:, :1], 3)


def test_the_errors_of_two_heads_are_averaged_where_both_speak() -> None:
    x, first, second = clips(1, 3, 4, 8, 8), clips(1, 3, 3, 8, 8, seed=1), clips(1, 3, 2, 8, 8, seed=2)
    output = Reconstruction(first, prediction=Reconstruction(second, first_frame=2))
    assert scored_frames(output) == (0, 4)
    one = frame_errors(Reconstruction(first), x, "squared-error")
    other = frame_errors(Reconstruction(second, first_frame=2), x, "squared-error")
    expected = torch.stack([one[:, 0], one[:, 1], (one[:, 2] + other[:, 0]) / 2, other[:, 1]], dim=1)
    torch.testing.assert_close(frame_errors(output, x, "squared-error"), expected)


def test_centre_distance_is_what_the_network_says() -> None:
    x, x_hat, distance = clips(2, 3, 3, 8, 8), clips(2, 3, 3, 8, 8), clips(2, 3)
    output = Reconstruction(x_hat, distance=distance)
    assert frame_errors(output, x, "centre-distance") is distance
    with pytest.raises(SpecError, match="no density"):
        density(output, x, "centre-distance")
    with pytest.raises(SpecError, match="svdd"):
        frame_errors(Reconstruction(x_hat), x, "centre-distance")
    with pytest.raises(ShapeError, match="as many distances"):
        frame_errors(Reconstruction(x_hat[:, :, 1:], first_frame=1, distance=distance), x, "centre-distance")


def test_what_is_no_reconstruction_or_no_error_is_refused() -> None:
    x = clips(1, 3, 1, 8, 8)
    with pytest.raises(ShapeError, match="Reconstructs"):
        frame_errors(x, x, "squared-error")
    with pytest.raises(SpecError, match="one of squared-error"):
        frame_errors(Reconstruction(x), x, "cosine")


def test_errors_are_added_by_plus() -> None:
    assert added("ssim") == ("ssim",)
    assert added("squared-error+centre-distance") == ("squared-error", "centre-distance")
    for wrong in ("cosine", "squared-error+", "ssim+ssim", ""):
        with pytest.raises(SpecError, match="joined by"):
            added(wrong)
