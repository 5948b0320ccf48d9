"""Losses against their definitions, written out slowly."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch import Tensor

from vidence.errors import ShapeError
from vidence.models.reconstruction import Reconstruction
from vidence.training.losses import reconstruction_loss, similarity


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean SSIM of two (h, w) pictures: Gaussian 11 x 11, sigma 1.5, only windows that lie inside."""
    place = np.arange(11) - 5
    row = np.exp(-(place**2) / (2 * 1.5**2))
    window = np.outer(row, row) / row.sum() ** 2

    def blurred(x: np.ndarray) -> np.ndarray:
        return correlate(x, window, mode="constant")[5:-5, 5:-5]

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    shared = blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + c1) * (2 * shared + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(found.mean())


def pictures(*shape: int) -> tuple[Tensor, Tensor]:
    made = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool3d(made.flatten(0, 1), (1, 5, 5), 1, (0, 2, 2)).unflatten(0, (2, -1))
    return smooth[0], (smooth[0] + 0.1 * made[1]).clamp(0, 1)


def test_similarity_is_that_of_the_definition() -> None:
    a, b = pictures(2, 3, 2, 16, 18)
    slow = [
        slow_ssim(first.double().numpy(), second.double().numpy())
        for first, second in zip(a.reshape(-1, 16, 18), b.reshape(-1, 16, 18), strict=True)
    ]
    assert float(similarity(a, b)) == pytest.approx(np.mean(slow), abs=1e-5)
    assert float(similarity(a, a)) == pytest.approx(1)


def test_negative_similarity_counts_as_none() -> None:
    a, _ = pictures(1, 1, 1, 16, 16)
    assert slow_ssim(a[0, 0, 0].numpy(), (1 - a)[0, 0, 0].numpy()) < 0
    assert float(similarity(a, 1 - a)) == 0


def test_frames_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ShapeError, match="11 x 11"):
        similarity(torch.rand(1, 1, 1, 10, 20), torch.rand(1, 1, 1, 10, 20))


def test_each_loss() -> None:
    x, x_hat = pictures(2, 1, 3, 16, 16)
    output = Reconstruction(x_hat)
    mse = float((x - x_hat).square().mean())
    unlike = 1 - float(similarity(x, x_hat))
    assert float(reconstruction_loss(output, x, "mse")) == pytest.approx(mse)
    assert float(reconstruction_loss(output, x, "ssim")) == pytest.approx(unlike)
    assert float(reconstruction_loss(output, x, "compound")) == pytest.approx(0.5 * mse + 0.5 * unlike)
    assert float(reconstruction_loss(output, x, "compound", weights=(1, 1))) == pytest.approx(mse + unlike)


def test_gray_networks_are_held_against_the_gray_of_what_came() -> None:
    x, _ = pictures(1, 3, 2, 16, 16)
    gray = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None, None]).sum(dim=1, keepdim=True)
    assert float(reconstruction_loss(Reconstruction(gray), x, "mse")) == pytest.approx(0, abs=1e-12)


def test_a_prediction_counts_where_it_speaks_and_two_heads_the_same() -> None:
    x, other = pictures(1, 1, 4, 16, 16)
    predicted = Reconstruction(other[:, :, 2:], first_frame=2)
    alone = float((x - other)[:, :, 2:].square().mean())
    assert float(reconstruction_loss(predicted, x, "mse")) == pytest.approx(alone)
    both = Reconstruction(other, prediction=predicted)
    whole = float((x - other).square().mean())
    assert float(reconstruction_loss(both, x, "mse")) == pytest.approx((whole + alone) / 2)


def test_bfloat16_outputs_are_compared_in_float32() -> None:
    x, x_hat = pictures(1, 1, 2, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = reconstruction_loss(Reconstruction(x_hat.bfloat16()), x, "compound")
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(reconstruction_loss(Reconstruction(x_hat), x, "compound")), rel=0.02)
