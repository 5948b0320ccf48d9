"""The residual: it is the score, spread over the pixels it comes from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vidence.attribution import GradCAM, Residual, WhenWhere, default_for
from vidence.errors import ExplainError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.scores import SCORES, Logit, pinned
from vidence.spec import build
from vidence.testing import assert_no_residue


class Patchy(ReconstructionNetwork):
    """Returns frames 1 and later as they are but for one pixel, where `wrong` is added; its distance is 1."""

    first_frame = 1

    def __init__(self, wrong: float = 0.25) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, x: Tensor) -> Reconstruction:
        x_hat = x[:, :, 1:].clone()
        x_hat[:, :, 1, 2, 3] += self.wrong
        return Reconstruction(x_hat, first_frame=1, distance=torch.ones(len(x), x.shape[2] - 1))


X = torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("line", "value"), [("squared-error", 3 * 0.0625), ("absolute-error", 3 * 0.25)])
def test_it_finds_the_one_wrong_pixel_and_sums_to_the_score(line: str, value: float) -> None:
    found = Residual(cell=1).attribute(Patchy(), X, build(line, SCORES))
    expected = torch.zeros(2, 4, 8, 8)
    expected[:, 2, 2, 3] = value
    torch.testing.assert_close(found.values, expected)
    assert found.gap is not None
    torch.testing.assert_close(found.gap, torch.zeros(2), atol=1e-6, rtol=0)
    assert found.certificate.gap == pytest.approx(0, abs=1e-6)
    assert found.certificate.flags == ()
    assert found.extra["scored"] == [(1, 4), (1, 4)]


@pytest.mark.parametrize(("cell", "side"), [(2, 4), (3, 4), (4, 2), (8, 1), (100, 1)])
def test_cells_sum_their_pixels_and_divide_the_picture(cell: int, side: int) -> None:
    found = Residual(cell=cell).attribute(Patchy(), X, build("squared-error", SCORES))
    fine = Residual(cell=1).attribute(Patchy(), X, build("squared-error", SCORES)).values
    step = 8 // side
    by_hand = sum(fine[:, :, i::step, j::step] for i in range(step) for j in range(step))
    torch.testing.assert_close(found.values, by_hand)
    assert found.raw is not None
    assert found.raw.shape == X[:, 0].shape


def test_ssim_sums_to_the_score_and_reaches_as_far_as_its_window() -> None:
    score = build("ssim(frame=2)", SCORES)
    found = Residual(cell=1).attribute(Patchy(), X[:1], score)
    torch.testing.assert_close(found.values.sum(), score(Patchy()(X[:1]), X[:1])[0])
    assert found.values[0, 2].count_nonzero() > 30
    assert found.extra["scored"] == (2, 3)  # the score's one frame, not all that have a reconstruction
    assert not found.values[0, 3].any()


def test_psnr_is_drawn_as_squared_error_and_says_so() -> None:
    for score in (build("psnr", SCORES), pinned(build("psnr(mode='fixed')", SCORES), Patchy()(X), X)):
        found = Residual(cell=1).attribute(Patchy(), X, score)
        torch.testing.assert_close(found.values.sum(dim=(1, 2, 3)), torch.full((2,), 3 * 0.0625))
        assert found.gap is None
        assert found.certificate.gap is None
        assert "squared error" in found.certificate.flags[0]


def test_of_a_sum_it_shows_the_part_that_has_places_and_says_what_is_missing() -> None:
    score = build("sum(of=[squared-error, centre-distance], weights=[16, 1])", SCORES)  # 16 x .1875 = 3, and 3
    found = Residual(cell=1).attribute(Patchy(), X[:1], score)
    assert found.values.sum() == pytest.approx(3)
    assert found.certificate.gap == pytest.approx(0.5)
    assert "leaves out" in found.certificate.flags[0]


@pytest.mark.parametrize(
    "line",
    [
        "region(box=(None, None, 0, 0, 4, 1.0))",
        "frame-contrast(frame=2)",
        "frame-contrast(of=region(of=absolute-error, box=(None, None, 2, 3, 3, 4)), frame=3)",
        "squared-error(frame=(1, 3), part='prediction', mode='fixed')",
    ],
)
def test_other_targets_are_drawn_signed_and_sum_to_the_score(line: str) -> None:
    score = build(line, SCORES)
    found = Residual(cell=1).attribute(Patchy(), X, score)
    held = pinned(score, Patchy()(X), X)
    torch.testing.assert_close(found.values.sum(dim=(1, 2, 3)), held(Patchy()(X), X))
    assert found.certificate.gap == pytest.approx(0, abs=1e-5)
    assert found.certificate.flags == ()
    assert (float(found.values.sum()) < 0) == ("frame=3" in line)  # frame 2 is wrong, frame 3 is not


def test_of_a_normalised_error_the_gap_is_its_offset() -> None:
    found = Residual(cell=1).attribute(Patchy(), X[:1], build("normalised-error(low=0.01, high=0.11)", SCORES))
    assert float(found.values.sum()) == pytest.approx(0.1875 / 3 / 0.1, rel=1e-5)
    assert found.gap is not None
    assert float(found.gap) == pytest.approx(-0.1, rel=1e-5)
    assert "no places" in found.certificate.flags[0]


def test_a_perfect_reconstruction_gives_an_empty_map() -> None:
    found = Residual(cell=1).attribute(Patchy(0.0), X, build("squared-error", SCORES))
    assert not found.values.any()
    assert len(found.certificate.flags) == 1
    assert "the map is zero" in found.certificate.flags[0]


@pytest.mark.parametrize("line", ["centre-distance", "logit", "sum(of=[centre-distance])"])
def test_a_score_without_places_is_refused(line: str) -> None:
    with pytest.raises(ExplainError, match="spread over pixels"):
        Residual(cell=1).attribute(Patchy(), X, build(line, SCORES))


def test_it_looks_and_leaves_nothing() -> None:
    model = Patchy().train()
    with assert_no_residue(model):
        Residual()(model, X, build("squared-error(mode='fixed')", SCORES))


def test_it_is_the_default_where_the_score_has_places() -> None:
    assert default_for(Patchy()) == Residual()
    assert default_for(Patchy(), build("sum(of=[ssim, centre-distance])", SCORES)) == Residual()
    assert default_for(Patchy(), build("centre-distance", SCORES)) == GradCAM()
    assert default_for(torch.nn.GRU(3, 4), Logit()) == WhenWhere()
