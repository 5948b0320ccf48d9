"""Scores of one clip out of several that they were pinned on."""

import pytest
import torch

from vidence.attribution.outputs import of_clip
from vidence.errors import ShapeError
from vidence.models.reconstruction import Reconstruction
from vidence.scoring.score import frames_of, has_frames, places_of, scored_by
from vidence.scoring.scores import SCORES, Contrast, Logit, Output, SquaredError, pinned, reads
from vidence.spec import build

X = torch.rand(2, 3, 4, 8, 7, generator=torch.Generator().manual_seed(0))
LINES = (
    "squared-error(frame=1, mode='fixed')",
    "psnr(mode='fixed')",
    "sum(of=[squared-error, ssim(mode='fixed')])",
    "region(of=absolute-error, box=(None, None, 1, 1, 4, 4))",
    "frame-contrast(of=squared-error(mode='fixed'))",
)


def answer(x):
    return Reconstruction(x.roll(1, dims=2) * 0.9, distance=x.mean(dim=(1, 3, 4)))


def knowledge(score, output):
    return {
        "places": places_of(score),
        "frames": has_frames(score),
        "scored": scored_by(score, output),
        "mode": getattr(score, "mode", None),
        "flips at": getattr(score, "flips_at", None),
        "reads": reads(score),
    }


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("place", [0, 1])
def test_it_is_and_knows_what_a_score_pinned_on_that_clip_is_and_knows(line, place):
    clip = X[place : place + 1]
    asked = build(line, SCORES)
    one, held = pinned(asked, answer(clip), clip), of_clip(pinned(asked, answer(X), X), place, 2)
    rows = torch.cat([clip, clip.flip(2), clip.square()])
    assert knowledge(held, answer(rows)) == knowledge(one, answer(rows))
    torch.testing.assert_close(held(answer(rows), rows), one(answer(rows), rows))
    torch.testing.assert_close(held.density(answer(rows), rows), one.density(answer(rows), rows))
    torch.testing.assert_close(frames_of(held, answer(rows), rows), frames_of(one, answer(rows), rows))


@pytest.mark.parametrize("score", [Contrast(), Logit(), Output()])
def test_class_scores_keep_what_they_read_and_where_they_flip(score):
    logits = torch.randn(2, 1 if isinstance(score, Output) else 3)
    held = of_clip(pinned(score, logits, X), 1, 2)
    assert reads(held) == "logits"
    assert getattr(held, "flips_at", None) == getattr(score, "flips_at", None)
    assert places_of(held) == "none"
    assert not has_frames(held)
    torch.testing.assert_close(held(logits[1:], X[1:]), score(logits[1:], X[1:]))


def test_a_callable_with_too_few_values_is_refused_and_unpinned_scores_stay():
    assert of_clip(SquaredError(), 1, 2) == SquaredError()
    with pytest.raises(ShapeError, match="one value a clip"):
        of_clip(lambda output, x: output.sum()[None], 0, 2)(torch.rand(1, 3), X[:1])
