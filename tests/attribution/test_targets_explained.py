"""Every target of a reconstruction, explained by methods that know nothing of it, an image's and a clip's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vidence.attribution import EXPLAINERS, Explainer
from vidence.attribution.outputs import of_clip
from vidence.scoring.score import pinned
from vidence.scoring.scores import SCORES
from vidence.spec import build
from zoo import Autoencoder, Predictor, made

METHODS = ("gradient", "grad-cam", "occlusion(box=[5, 7, 12])", "frame-occlusion", "when-where")
BOX = "box=(None, None, 0.25, 0.25, 0.75, 0.75)"
LINES = [
    f"region({BOX})",
    f"region(of=ssim(mode='fixed', frame=3), {BOX})",
    "frame-contrast",
    "normalised-error(low=1.0, high=40.0)",
    "ssim(frame=(2, 4))",
    "ssim(frame=4, mode='fixed')",
    "centre-distance",
    "centre-distance(frame=4)",
    "sum(of=[squared-error(frame=3), centre-distance(frame=3)])",
]
X = torch.rand(2, 3, 5, 14, 12, generator=torch.Generator().manual_seed(0))


def explained(method: str, model: Any, x: Tensor, score: Any) -> Tensor:
    explainer: Explainer = build(method, EXPLAINERS)
    return explainer.attribute(model, x, score, certify=False).values


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("line", LINES)
def test_it_can_be_explained_and_two_clips_are_one_and_one(method: str, line: str) -> None:
    model, score = made(Autoencoder).eval(), build(line, SCORES)
    both = explained(method, model, X, score)
    assert both.isfinite().all()
    assert both.any()
    alone = torch.cat([explained(method, model, X[i : i + 1], score) for i in range(2)])
    torch.testing.assert_close(both, alone)
    held = pinned(score, model(X), X)  # on both clips at once, as whoever explains a batch may do
    torch.testing.assert_close(explained(method, model, X, held), both, rtol=1e-3, atol=1e-5)
    assert of_clip(held, 0, 1) is held


@pytest.mark.parametrize("part", ["reconstruction", "prediction"])
def test_one_head_of_two_can_be_explained(part: str) -> None:
    model = made(Predictor).eval()
    maps = [explained("gradient", model, X, build(line, SCORES)) for line in ("squared-error", f"ssim(part={part!r})")]
    assert maps[1].any()
    assert not torch.allclose(*maps)
