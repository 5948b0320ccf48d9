"""Targets made of errors: regions, frames against the one before, one head of two, errors on a scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vidence.attribution.outputs import of_clip
from vidence.errors import ShapeError, SpecError
from vidence.models.reconstruction import Reconstruction
from vidence.scoring.score import frames_of, has_places, pinned, scored_by
from vidence.scoring.scores import SCORES, Pinnable
from vidence.spec import build, line

BOX = "box=(None, None, 2, 0.25, 6, 0.75)"
LINES = [
    f"region({BOX})",
    "region(box=(1, 3, 0, 0, 4, 1.0))",
    f"region(of=ssim(mode='fixed'), {BOX})",
    f"region(of=sum(of=[squared-error, ssim]), {BOX})",
    "frame-contrast",
    "frame-contrast(frame=3)",
    "frame-contrast(of=absolute-error(mode='fixed'))",
    f"frame-contrast(of=region({BOX}))",
    "frame-contrast(of=centre-distance)",
    "frame-contrast(of=sum(of=[squared-error, centre-distance]))",
    "normalised-error(low=0.5, high=2.0)",
    "normalised-error(of=squared-error(frame=2), low=0, high=3, origin='oracle')",
    f"normalised-error(of=region(of=squared-error(mode='fixed'), {BOX}), low=0.0, high=2.0)",
    "squared-error(frame=(1, 3))",
    "squared-error(part='prediction')",
    "absolute-error(part='prediction', frame=2, mode='fixed')",
]


def clips(n: int, *, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def answer(x: Tensor) -> Reconstruction:
    """Predicts the last three of four frames, differently for every pixel."""
    return Reconstruction(x[:, :, :3] ** 2, first_frame=1, distance=x[:, :, 1:].mean(dim=(1, 3, 4)))


def two_heads(x: Tensor) -> Reconstruction:
    """Reconstructs all frames, and predicts the last two."""
    return Reconstruction(x**2, prediction=Reconstruction(x[:, :, :2] ** 3, first_frame=2))


def score(text: str) -> Any:
    return build(text, SCORES)


@pytest.mark.parametrize("text", LINES)
class TestTarget:
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

    def test_pinned_it_serves_variants_and_nothing_moves(self, text: str) -> None:
        x, changed = clips(2), clips(4, seed=1)
        held = pinned(score(text), answer(x), x)
        assert not isinstance(held, Pinnable) or held == score(text)
        torch.testing.assert_close(held(answer(x), x), score(text)(answer(x), x))
        rows = held(answer(changed), changed)
        for i in range(2):  # a batch of two is two of one
            one, some = x[i : i + 1], changed[2 * i : 2 * i + 2]
            alone = pinned(score(text), answer(one), one)
            torch.testing.assert_close(rows[2 * i : 2 * i + 2], alone(answer(some), some))
            torch.testing.assert_close(of_clip(held, i, 2)(answer(some), some), alone(answer(some), some))

    def test_frames_and_density_sum_to_the_score(self, text: str) -> None:
        x = clips(2)
        for each in (score(text), pinned(score(text), answer(x), x)):
            whole = each(answer(x), x)
            frames = frames_of(each, answer(x), x)
            first, last = scored_by(each, answer(x))
            assert frames.shape == (2, last - first)
            torch.testing.assert_close(frames.sum(dim=1), whole)
            if not has_places(each) or "centre-distance" in text:
                continue
            found = each.density(answer(x), x)
            assert found.shape == (2, 4, 8, 8)
            offset = 0.5 / 1.5 if "low=0.5" in text else 0.0
            torch.testing.assert_close(found.sum(dim=(1, 2, 3)), whole + offset)
            assert not found[:, :first].any()

    def test_its_line_gives_it_again(self, text: str) -> None:
        assert score(line(score(text), SCORES)) == score(text)
        assert line(score(line(score(text), SCORES)), SCORES) == line(score(text), SCORES)


def test_a_region_counts_what_lies_in_it() -> None:
    x = clips(2)
    expected = score("squared-error").density(answer(x), x)[:, 1:3, 2:6, 2:6].sum(dim=(1, 2, 3))
    for box in ("(1, 3, 2, 2, 6, 6)", "(0.25, 0.75, 0.25, 0.25, 0.75, 0.75)", "(None, 3, 2, 2, 0.75, 6)"):
        torch.testing.assert_close(score(f"region(box={box})")(answer(x), x), expected)


def test_a_drawn_mask_weighs_and_its_digest_is_in_the_line(tmp_path: Path) -> None:
    x, path = clips(2), tmp_path / "drawn.npy"
    weights = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    np.save(path, weights)
    asked = score(f"region(mask='{path}')")
    expected = (score("squared-error").density(answer(x), x) * torch.from_numpy(weights)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(asked(answer(x), x), expected)
    text = line(asked, SCORES)
    assert f"digest='{asked.digest}'" in text
    np.savez(tmp_path / "finer.npz", mask=np.kron(weights, np.ones((3, 3))))
    torch.testing.assert_close(score(f"region(mask='{tmp_path / 'finer.npz'}')")(answer(x), x), expected)
    np.save(path, np.ones((4, 8, 8), dtype=bool))
    torch.testing.assert_close(score(f"region(mask='{path}')")(answer(x), x), score("squared-error")(answer(x), x))
    with pytest.raises(SpecError, match="must have the digest"):
        score(text)


def test_masks_that_are_none_are_refused(tmp_path: Path) -> None:
    path, x = tmp_path / "drawn.npy", clips(1)
    for wrong in (np.zeros((8, 8)), -np.ones((8, 8)), np.ones((3, 8, 8)), np.ones(8), np.full((2, 2), "a")):
        np.save(path, wrong)
        with pytest.raises(ShapeError, match="mask"):
            score(f"region(mask='{path}')")(answer(x), x)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(SpecError, match="cannot be read"):
        score(f"region(mask='{path}')")(answer(x), x)
    with pytest.raises(SpecError, match="no file"):
        score(f"region(mask='{tmp_path / 'absent.npy'}')")


def test_a_frame_contrast_is_a_difference_and_keeps_its_frame() -> None:
    x = clips(2)
    errors = score("squared-error").frames(answer(x), x)
    torch.testing.assert_close(score("frame-contrast(frame=3)")(answer(x), x), errors[:, 2] - errors[:, 1])
    at = errors[:, 1:].argmax(dim=1) + 1
    expected = errors.gather(1, at[:, None]) - errors.gather(1, at[:, None] - 1)
    held = pinned(score("frame-contrast"), answer(x), x)
    torch.testing.assert_close(held(answer(x), x), expected[:, 0])
    other = x.clone()
    other[0, :, 1 + int(at[0])] = x[0, :, int(at[0])] ** 2  # no error there any more; the frame asked about stays
    assert held(answer(other), other)[0] < 0
    assert score("frame-contrast")(answer(other), other)[0] > held(answer(other), other)[0]
    with pytest.raises(ShapeError, match="multiples of 2"):
        held(answer(x[:1]), x[:1])


def test_one_head_of_two() -> None:
    x = clips(2)
    output = two_heads(x)
    assert output.prediction is not None
    alone, ahead = Reconstruction(output.x_hat), output.prediction
    for error in ("squared-error", "ssim"):
        both = score(error)(output, x)
        parts = [score(f"{error}(part='{part}')")(output, x) for part in ("reconstruction", "prediction")]
        torch.testing.assert_close(parts[0], score(error)(alone, x))
        torch.testing.assert_close(parts[1], score(error)(ahead, x))
        assert (both < sum(parts)).all()  # where both heads speak, their errors are averaged
    assert scored_by(score("squared-error(part='prediction')"), output) == (2, 4)
    with pytest.raises(SpecError, match="no such head"):
        score("squared-error(part='prediction')")(alone, x)
    with pytest.raises(SpecError, match="no such head"):
        score("squared-error(part='reconstruction')")(ahead, x)
    with pytest.raises(SpecError, match="2 to 3"):
        score("squared-error(part='prediction', frame=1)")(output, x)


def test_a_normalised_error_is_the_live_score_of_a_frame() -> None:
    x = clips(2)
    asked = score("normalised-error(of=squared-error(frame=2))")
    with pytest.raises(SpecError, match="needs a scale"):
        asked(answer(x), x)
    scaled = asked.calibrated({"low": 1.5, "high": 4.0, "frames": 9})
    errors = score("squared-error(frame=2)")(answer(x), x)
    torch.testing.assert_close(scaled(answer(x), x), (errors - 1.5) / 2.5)
    assert "low=1.5, high=4.0" in line(scaled, SCORES)
    assert scaled.calibrated({"low": 0.0, "high": 1.0}) == scaled
    assert asked.calibrated(None) == asked
    mean = score("normalised-error(low=1.5, high=4.0)")(answer(x), x)
    torch.testing.assert_close(mean, (score("squared-error")(answer(x), x) / 3 - 1.5) / 2.5)


@pytest.mark.parametrize(
    "wrong",
    [
        "region",
        f"region(of=psnr, {BOX})",
        f"region(of=centre-distance, {BOX})",
        f"region(of=logit, {BOX})",
        "region(box=(0, 1, 2))",
        "region(box=(0, 1, 0, 0, 2.5, 1))",
        "frame-contrast(of=squared-error(frame=1))",
        "frame-contrast(frame=1.5)",
        "frame-contrast(of=logit)",
        "normalised-error(low=1)",
        "normalised-error(low=2, high=1)",
        "normalised-error(origin='oracle')",
        "normalised-error(low=0, high=1, origin='test')",
        "squared-error(frame=(2, 2))",
        "squared-error(frame=(1, 2, 3))",
        "squared-error(part='both')",
        "centre-distance(part='prediction')",
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: str) -> None:
    with pytest.raises(SpecError):
        score(wrong)


def test_frames_that_are_not_there_are_refused() -> None:
    x = clips(1)
    for wrong in ("frame-contrast(frame=1)", "frame-contrast(frame=4)", "region(box=(0, 5, 0, 0, 8, 8))"):
        with pytest.raises(SpecError):
            score(wrong)(answer(x), x)
    short = x[:, :, :2]
    with pytest.raises(SpecError, match="two frames"):
        score("frame-contrast")(Reconstruction(short[:, :, :1], first_frame=1), short)
    with pytest.raises(SpecError, match="value per frame"):
        frames_of(score("logit"), torch.zeros(1, 2), x)
