"""Motion energy and principal directions against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from vidence.models.motion_energy import FLOOR, MotionEnergy, PrincipalDirections


def slow(features: torch.Tensor, *, cells: int, lag: int) -> list[list[float]]:
    """Energy of one clip (t, c * cells) at one lag, written out: a row per change."""
    t, channels = len(features), features.shape[1] // cells
    maps = features.reshape(t, channels, cells)
    changes = [[float((maps[i] - maps[i - lag])[c].abs().max()) for c in range(channels)] for i in range(lag, t)]
    changes = [changes[0]] * (lag - 1) + changes
    rows = []
    for u in range(1, len(changes) + 1):
        means = [sum(change[c] ** 2 for change in changes[:u]) / u for c in range(channels)]
        rows.append([math.log(math.sqrt(max(mean, 1e-8)) + FLOOR) for mean in means])
    return rows


def test_energy_is_the_log_running_rms_of_the_largest_change_and_ratios_of_lags() -> None:
    features = torch.randn(2, 7, 3 * 4)
    found = MotionEnergy(cells=4, lags=(1, 3))(features)
    assert found.shape == (2, 6, 6)
    for clip, rows in zip(features, found, strict=True):
        first, second = (torch.tensor(slow(clip, cells=4, lag=lag)) for lag in (1, 3))
        torch.testing.assert_close(rows, torch.cat([first, first - second], dim=1), rtol=1e-4, atol=1e-4)


def test_a_still_picture_is_at_rest_and_an_image_is_a_still_picture() -> None:
    energy = MotionEnergy(cells=2)
    still = torch.ones(1, 5, 4)
    rest = math.log(1e-4 + FLOOR)
    torch.testing.assert_close(energy(still)[..., :2], torch.full((1, 4, 2), rest))
    torch.testing.assert_close(energy(torch.randn(1, 1, 4))[..., :2], torch.full((1, 1, 2), rest))


@pytest.mark.parametrize("t", [2, 3, 4, 16])
def test_clips_shorter_than_a_lag_work_and_later_frames_change_nothing_before(t: int) -> None:
    energy, features = MotionEnergy(cells=2), torch.randn(1, 16, 4)
    assert energy(features[:, :t]).shape == (1, t - 1, 4)
    if t > 5:
        torch.testing.assert_close(energy(features)[:, : t - 1], energy(features[:, :t]))


def test_directions_are_those_of_the_covariance_scaled_by_the_first() -> None:
    torch.manual_seed(0)
    means = torch.randn(40, 3) @ torch.diag(torch.tensor([5.0, 1.0, 0.1])) + 7
    directions = PrincipalDirections(3, 2)
    directions.fit(means)
    projected = directions(means[None])[0]
    assert projected.mean(0).abs().max() < 1e-4
    assert float(projected[:, 0].std()) == pytest.approx(directions.SPREAD, rel=1e-4)
    correlation = torch.corrcoef(means.T)
    values = torch.linalg.eigvalsh(correlation).flip(0)
    assert float(projected[:, 1].var() / projected[:, 0].var()) == pytest.approx(float(values[1] / values[0]), rel=1e-4)


def test_fewer_windows_than_directions_leave_zeros() -> None:
    directions = PrincipalDirections(8, 6)
    directions.fit(torch.randn(3, 8))
    assert torch.isfinite(directions.basis).all()
    assert (directions.basis[:, 3:] == 0).all()
