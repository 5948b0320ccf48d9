"""Scores of reconstructions: shape, gradient, order under batching, that a pinned score does not move, closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.models.reconstruction import ERRORS, Reconstruction, frame_errors
from vidence.scoring.score import is_sum_over_pixels, places_of
from vidence.scoring.scores import SCORES, Pinnable, has_places, pinned
from vidence.spec import build, line

LINES = [
    *ERRORS,
    "squared-error(frame=2)",
    "ssim(frame=1)",
    "squared-error(mode='fixed')",
    "absolute-error(frame=1, mode='fixed')",
    "sum(of=[squared-error, centre-distance], weights=[0.5, 2])",
    "sum(of=[squared-error(mode='fixed'), ssim(mode='fixed')])",
]


def clips(n: int, *, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def answer(x: Tensor) -> Reconstruction:
    """Predicts the last three of four frames, differently for every pixel."""
    return Reconstruction(x[:, :, :3] ** 2, first_frame=1, distance=x[:, :, 1:].mean(dim=(1, 3, 4)))


def score(text: str) -> Any:
    return build(text, SCORES)


@pytest.mark.parametrize("text", LINES)
class TestScore:
    def test_one_value_a_clip_in_the_order_of_the_batch(self, text: str) -> None:
        x = clips(3)
        found = score(text)(answer(x), x)
        assert found.shape == (3,)
        alone = torch.cat([score(text)(answer(x[i : i + 1]), x[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(found, alone)
        torch.testing.assert_close(score(text)(answer(x.flip(0)), x.flip(0)), found.flip(0))

    def test_the_gradient_flows(self, text: str) -> None:
        x = clips(2).requires_grad_()
        (gradient,) = torch.autograd.grad(score(text)(answer(x), x).sum(), x)
        assert gradient.isfinite().all()
        assert gradient.any()

    def test_a_pinned_score_does_not_move(self, text: str) -> None:
        x, other = clips(2), clips(2, seed=1)
        held = pinned(score(text), answer(x), x)
        torch.testing.assert_close(held(answer(x), x), score(text)(answer(x), x))
        moves = "fixed" not in text and text != "centre-distance"
        one, two = held(answer(x), x), held(answer(x), other)
        assert torch.equal(one, two) != moves

    def test_its_line_gives_it_again(self, text: str) -> None:
        assert score(line(score(text), SCORES)) == score(text)


@pytest.mark.parametrize("error", ERRORS)
def test_a_score_is_the_sum_of_its_frames(error: str) -> None:
    x = clips(2)
    frames = frame_errors(answer(x), x, error)
    torch.testing.assert_close(score(error).frames(answer(x), x), frames)
    torch.testing.assert_close(score(error)(answer(x), x), frames.sum(dim=1))
    torch.testing.assert_close(score(f"{error}(frame=2)")(answer(x), x), frames[:, 1])
    for frame in (0, 4, -1):
        with pytest.raises(SpecError, match="1 to 3"):
            score(f"{error}(frame={frame})")(answer(x), x)


@pytest.mark.parametrize("error", ["squared-error", "absolute-error", "ssim"])
@pytest.mark.parametrize("settings", ["", "(frame=3)", "(mode='fixed')"])
def test_the_density_sums_to_the_score(error: str, settings: str) -> None:
    x = clips(2)
    asked = pinned(score(error + settings), answer(x), x)
    found = asked.density(answer(x), x)
    assert found.shape == (2, 4, 8, 8)
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), asked(answer(x), x))
    assert not found[:, 0].any()
    assert bool(found[:, 2].any()) != ("frame" in settings)
    assert has_places(asked)


def test_a_fixed_score_compares_with_the_original_row_by_row() -> None:
    x, changed = clips(2), clips(6, seed=1)
    held = pinned(score("squared-error(mode='fixed')"), answer(x), x)
    originals = x.repeat_interleave(3, dim=0)
    torch.testing.assert_close(held(answer(changed), changed), score("squared-error")(answer(changed), originals))
    assert not isinstance(held, Pinnable)
    with pytest.raises(ShapeError, match="multiples of 2"):
        held(answer(changed[:3]), changed[:3])


def test_the_gradients_of_the_two_modes_differ_by_the_target() -> None:
    """For f(x) = A x: 2 (I - A)^T (x - A x) live, -2 A^T (x0 - A x) fixed (methods.md A.0)."""
    a = torch.rand(12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64) / 12
    x = torch.rand(1, 3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    residual = x.flatten() - a @ x.flatten()
    expected = {
        "live": 2 * (torch.eye(12, dtype=torch.float64) - a).T @ residual,
        "fixed": -2 * a.T @ residual,
    }
    for mode, gradient in expected.items():
        asked = x.clone().requires_grad_()
        output = Reconstruction((a @ asked.flatten()).reshape(x.shape))
        held = pinned(score(f"squared-error(mode={mode!r})"), output, x)
        (found,) = torch.autograd.grad(held(output, asked).sum(), asked)
        torch.testing.assert_close(found.flatten(), gradient)


def test_a_sum_with_a_distance_has_the_density_of_the_rest() -> None:
    x = clips(2)
    added = score("sum(of=[squared-error, centre-distance], weights=[0.5, 2])")
    torch.testing.assert_close(added.density(answer(x), x), 0.5 * score("squared-error").density(answer(x), x))
    assert has_places(pinned(added, answer(x), x))
    assert added.mode == "live"
    assert score("sum(of=[squared-error, ssim(mode='fixed')])").mode is None
    distance = score("centre-distance")
    assert not has_places(distance)
    with pytest.raises(SpecError, match="no density"):
        distance.density(answer(x), x)


def test_what_a_score_cannot_be_is_refused() -> None:
    for wrong in ("squared-error(mode='both')", "ssim(frame=1.5)", "centre-distance(mode='fixed')"):
        with pytest.raises(SpecError):
            score(wrong)
    with pytest.raises(ShapeError, match="Reconstruction"):
        score("squared-error")(torch.zeros(1, 2), clips(1))


def two_heads(x: Tensor) -> Reconstruction:
    """Reconstructs all frames and predicts from the second on."""
    prediction = Reconstruction(x[:, :, :-1] * 0.5, first_frame=1)
    return Reconstruction(x * 0.9, distance=x.mean(dim=(1, 3, 4)), prediction=prediction)


def test_a_sum_of_parts_with_other_frames_counts_the_frames_of_each() -> None:
    x = torch.rand(2, 3, 4, 16, 15)
    parts = "squared-error(part='prediction'), ssim(frame=0), absolute-error(frame=(1, 3))"
    added = score(f"sum(of=[{parts}], weights=[2, 1, 1])")
    output = two_heads(x)
    assert added.scored(output) == (0, 4)
    frames = added.frames(output, x)
    torch.testing.assert_close(frames.sum(dim=1), added(output, x))
    torch.testing.assert_close(frames[:, 0], score("ssim(frame=0)")(output, x))
    torch.testing.assert_close(frames[:, 3], 2 * score("squared-error(part='prediction', frame=3)")(output, x))
    assert score("sum(of=[ssim(frame=1), psnr(frame=2)])").scored(output) == (1, 3)


@pytest.mark.parametrize(
    ("line", "places"),
    [
        ("sum(of=[squared-error, ssim])", "all"),
        ("sum(of=[squared-error, centre-distance])", "some"),
        ("sum(of=[centre-distance, psnr])", "none"),
        ("sum(of=[sum(of=[ssim, centre-distance]), psnr])", "some"),
        ("psnr", "other"),
    ],
)
def test_how_much_of_a_score_its_density_sums_to(line: str, places: str) -> None:
    asked, x = score(line), torch.rand(2, 3, 4, 16, 15)
    for each in (asked, asked.pin(two_heads(x), x)):
        assert places_of(each) == places
        assert has_places(each) == (places != "none")
        assert is_sum_over_pixels(each) == (places == "all")
    if places != "none":
        found = asked.density(two_heads(x), x).sum(dim=(1, 2, 3))
        assert torch.allclose(found, asked(two_heads(x), x)) == (places == "all")
