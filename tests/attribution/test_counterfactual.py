"""Counterfactual boxes: the smallest region without which there would be no alarm (methods.md A.31)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidence import pipeline
from vidence.attribution.box_search import box_sums, grid_boxes, inside, promising, sliding_boxes, volumes
from vidence.attribution.counterfactual import CounterfactualBox
from vidence.errors import ExplainError, SpecError
from vidence.frames.transforms import Fit
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.operating import operating_threshold
from vidence.scoring.scores import SCORES, Anomaly, Contrast, Logit, SquaredError
from vidence.spec import build
from vidence.testing import assert_no_residue, counted_passes

SQUARE = (1, 3, 5, 9, 12, 14)  # frames 1 and 2, rows 5 to 11, columns 9 to 13


class Background(ReconstructionNetwork):
    """Reconstructs a clean gray wall, whatever it is shown."""

    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(torch.full_like(x, 0.5))


def film(*boxes: tuple[int, ...], t: int = 4, side: int = 20) -> Tensor:
    x = torch.full((1, 3, t, side, side), 0.5)
    for first, last, top, left, bottom, right in boxes:
        x[:, :, first:last, top:bottom, left:right] = 1.0
    return x


class Brightest(nn.Module):
    """Two classes: how bright the left half is, and the right one."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[4] // 2
        return torch.stack([part.mean(dim=(1, 2, 3, 4)) for part in (x[..., :half], x[..., half:])], dim=1)


@pytest.mark.parametrize("box", [SQUARE, (0, 4, 0, 0, 20, 20), (3, 4, 19, 0, 20, 1), (0, 1, 2, 3, 17, 18)])
@pytest.mark.parametrize("line", ["squared-error", "absolute-error"])
def test_it_is_the_bounding_box_of_what_the_network_does_not_know(box: tuple[int, ...], line: str) -> None:
    x, score = film(box), build(line, SCORES)
    found = CounterfactualBox(threshold=0.01, shrink=300).attribute(Background(), x, score)
    assert found.extra["boxes"] == [box]
    assert found.extra["flipped"]
    assert found.extra["counterfactual_score"] == 0
    region = inside(torch.tensor([box]), (4, 20, 20))
    assert torch.equal(found.values != 0, region)
    assert float(found.values.sum()) == pytest.approx(found.extra["score"], rel=1e-5)
    assert found.extra["direct"] == pytest.approx(found.extra["score"], rel=1e-5)
    assert found.extra["contextual"] == pytest.approx(0, abs=1e-6)


def test_flipped_is_what_a_fresh_pass_says() -> None:
    """With noise around: the replaced clip is rebuilt here, and the box cannot be a side smaller."""
    x = (film(SQUARE) + 0.02 * torch.randn(1, 3, 4, 20, 20, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    whole = float(SquaredError()(Background()(x), x))
    found = CounterfactualBox(threshold=whole * 0.3).attribute(Background(), x, SquaredError())
    first, last, top, left, bottom, right = found.extra["boxes"][0]
    changed = x.clone()
    changed[:, :, first:last, top:bottom, left:right] = 0.5
    after = float(SquaredError()(Background()(changed), changed))
    assert after == pytest.approx(found.extra["counterfactual_score"], rel=1e-5)
    assert found.extra["flipped"]
    assert after < found.extra["threshold"] == pytest.approx(whole * 0.3)
    assert set(range(first, last)) <= {1, 2}
    assert f"{after:.4g} instead of {whole:.4g} (threshold {whole * 0.3:.4g})" in found.extra["sentence"]
    assert "what the network expected" in found.extra["sentence"]


def test_replacing_nothing_leaves_the_score_and_a_calm_clip_is_not_flipped() -> None:
    x = film()
    found = CounterfactualBox(threshold=0.5).attribute(Background(), x, SquaredError())
    assert found.extra["score"] == found.extra["counterfactual_score"] == 0
    assert not found.extra["flipped"]
    assert "below the threshold before" in found.certificate.flags[0]


def test_what_cannot_be_reached_is_said() -> None:
    found = CounterfactualBox(threshold=-1.0).attribute(Background(), film(SQUARE), SquaredError())
    assert not found.extra["flipped"]
    assert any("no box brings it there" in flag for flag in found.certificate.flags)
    fixed = CounterfactualBox(threshold=0.01).attribute(Background(), film(SQUARE), SquaredError(mode="fixed"))
    assert not fixed.extra["flipped"]
    assert any("mode='fixed'" in flag for flag in fixed.certificate.flags)


def test_without_a_threshold_it_is_halfway() -> None:
    found = CounterfactualBox().attribute(Background(), film(SQUARE), SquaredError())
    assert found.extra["threshold"] == pytest.approx(found.extra["score"] / 2)
    assert found.extra["flipped"]
    assert any("no threshold was given" in flag for flag in found.certificate.flags)
    held = volumes(torch.tensor(found.extra["boxes"]))
    assert volumes(torch.tensor([SQUARE])) / 2 <= held <= volumes(torch.tensor([SQUARE])) * 0.6


def test_a_threshold_of_frames_is_one_of_their_mean() -> None:
    asked = CounterfactualBox(threshold=0.25, per="frame")
    found = asked.attribute(Background(), film(SQUARE), SquaredError())
    assert found.extra["threshold"] == 1.0
    assert asked.attribute(Background(), film(SQUARE), SquaredError(frame=2)).extra["threshold"] == 0.25
    with pytest.raises(ExplainError, match="per frame"):
        asked.attribute(Brightest(), film(SQUARE), Logit())


def test_of_a_contrast_the_class_flips() -> None:
    """The right half is brighter by one square; less than all of it has to go for the left one to win."""
    x = film((0, 4, 2, 2, 8, 8), (0, 4, 2, 12, 12, 18))
    found = CounterfactualBox(fill=0.5).attribute(Brightest(), x, Contrast())
    first, last, top, left, bottom, right = found.extra["boxes"][0]
    changed = x.clone()
    changed[:, :, first:last, top:bottom, left:right] = 0.5
    assert Brightest()(x).argmax() == 1
    assert Brightest()(changed).argmax() == 0
    assert found.extra["threshold"] == 0
    assert found.extra["flipped"]
    assert left >= 12
    assert "the value 0.5" in found.extra["sentence"]
    needed = 4 * (10 * 6 - 6 * 6)
    assert needed < volumes(torch.tensor(found.extra["boxes"])) <= needed * 1.25


def test_sensitise_finds_where_an_alteration_raises_the_error_most() -> None:
    class Wall(ReconstructionNetwork):
        """Gray, but for a white door in which the network expects white."""

        def forward(self, x: Tensor) -> Reconstruction:
            x_hat = torch.zeros_like(x)
            x_hat[:, :, :, 4:9, 8:13] = 1.0
            return Reconstruction(x_hat)

    x = torch.zeros(1, 3, 4, 20, 20)
    x[:, :, :, 4:9, 8:13] = 1.0
    asked = CounterfactualBox(mode="sensitise", box=(4, 6, 6), fill=0.0)
    found = asked.attribute(Wall(), x, SquaredError())
    boxes = sliding_boxes((4, 20, 20), (4, 6, 6))
    by_hand = []
    for box in boxes.tolist():
        changed = x.clone()
        changed[:, :, box[0] : box[1], box[2] : box[4], box[3] : box[5]] = 0.0
        by_hand.append(float(SquaredError()(Wall()(changed), changed)))
    assert found.extra["counterfactual_score"] == max(by_hand) > found.extra["score"] == 0
    assert found.extra["boxes"] == [tuple(boxes[torch.tensor(by_hand).argmax()].tolist())]
    assert float(found.values.sum()) == pytest.approx(-max(by_hand))
    assert not found.extra["flipped"]
    assert found.extra["threshold"] is None
    noisy = [
        CounterfactualBox(mode="sensitise", fill="noise", seed=seed, chunk=chunk) for seed, chunk in ((1, 1), (1, 9))
    ]
    one, other = (each.attribute(Wall(), x, SquaredError()) for each in noisy)
    torch.testing.assert_close(one.values, other.values)
    assert "noise" in one.extra["sentence"]


def test_chunks_change_nothing_and_passes_are_as_stated() -> None:
    x = film(SQUARE)
    maps = []
    for chunk in (1, 7, None):
        asked = CounterfactualBox(threshold=0.01, chunk=chunk)
        with assert_no_residue(Background()):
            maps.append(asked.attribute(Background(), x, SquaredError(), certify=False).values)
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])
    for asked, score in (
        (CounterfactualBox(cells=4), SquaredError()),
        (CounterfactualBox(mode="sensitise"), SquaredError()),
    ):
        model = Background()
        with counted_passes(model) as passes:
            asked.attribute(model, x, score, certify=False)
        price = asked.price(4, 20, 20)
        assert passes.forwards <= price.forwards if price.at_most else passes.forwards == price.forwards


class Known:
    """A detector as far as a threshold needs one."""

    settings: Any = None
    fit = Fit(size=20)

    def __init__(self, **given: Any) -> None:
        self.threshold: dict[str, Any] | None = {"value": 0.5}
        self.scale = (1.0, 3.0)
        self.facts: dict[str, Any] = {"calibration": {"low": 1.0, "high": 3.0}}
        self.score_line = "squared-error"
        self.network = Background()
        vars(self).update(given)

    def arithmetic(self, x: torch.Tensor) -> AbstractContextManager[Any]:
        return nullcontext(x)


def test_it_is_told_the_detectors_threshold_where_that_is_one_of_the_score() -> None:
    detector: Any = Known()
    own = operating_threshold(detector, SquaredError(frame=2))
    assert own is not None
    assert (own.value, own.per) == (2.0, "frame")
    asked = CounterfactualBox().informed(detector, SquaredError())
    assert (asked.threshold, asked.per) == (2.0, "frame")
    assert CounterfactualBox(threshold=7.0).informed(detector, SquaredError()).threshold == 7.0
    assert CounterfactualBox().informed(detector, build("ssim", SCORES)) == CounterfactualBox()
    same = operating_threshold(detector, build("normalised-error(low=1.0, high=3.0)", SCORES))
    assert same is not None
    assert (same.value, same.per) == (0.5, "clip")
    assert operating_threshold(detector, build("normalised-error(low=0.0, high=3.0, origin='oracle')", SCORES)) is None
    assert operating_threshold(Known(threshold=None), SquaredError()) is None  # type: ignore[arg-type]
    classifier: Any = Known(score_line=None, normal=("calm",), classes=("calm", "fight"), facts={})
    told = operating_threshold(classifier, Anomaly((0,)))
    assert told is not None
    assert (told.value, told.per) == (0.5, "clip")
    assert operating_threshold(classifier, Anomaly((1,))) is None
    assert operating_threshold(classifier, Logit()) is None


def test_explain_tells_it() -> None:
    found = pipeline.explain(Known(), film(SQUARE), explainer="counterfactual-box")  # type: ignore[arg-type]
    assert found.extra["threshold"] == 2.0 * 4
    assert found.extra["flipped"]
    scaled = pipeline.explain(
        Known(),  # type: ignore[arg-type]
        film(SQUARE),
        explainer="counterfactual-box",
        score="normalised-error",
    )
    assert scaled.extra["threshold"] == 0.5
    assert scaled.extra["score"] == pytest.approx((found.extra["score"] / 4 - 1) / 2)
    assert scaled.extra["boxes"] == found.extra["boxes"]


def test_sums_over_boxes_by_a_table_are_sums_over_boxes() -> None:
    values = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    boxes = grid_boxes((3, 5, 4), 9)
    sides = [list(combinations(range(length + 1), 2)) for length in (3, 5, 4)]
    by_hand = {(t[0], t[1], h[0], w[0], h[1], w[1]) for t, h, w in product(*sides)}
    assert {tuple(box) for box in boxes.tolist()} == by_hand
    held = inside(boxes, (3, 5, 4))
    torch.testing.assert_close(box_sums(values, boxes), (held * values.double()).sum(dim=(1, 2, 3)))
    assert torch.equal(volumes(boxes), held.sum(dim=(1, 2, 3)))


def test_promising_boxes_hold_more_than_every_smaller_one() -> None:
    sums = torch.tensor([1.0, 5.0, 2.0, 4.0, 9.0, 8.0])
    sizes = torch.tensor([1, 2, 2, 3, 4, 6])
    assert promising(sums, sizes, 9).tolist() == [0, 1, 4]
    assert promising(sums, sizes, 2).tolist() == [0, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "both"},
        {"fill": "noise"},
        {"fill": "nothing"},
        {"cells": 0},
        {"verify": 1},
        {"box": (1, 2, 3)},
        {"mode": "sensitise", "box": (0, 2, 3)},
        {"per": "pixel"},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        CounterfactualBox(**wrong)
