from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from vidence.attribution import Gradient
from vidence.errors import SpecError
from vidence.evaluate import consistency
from vidence.evaluate.consistency import (
    CentroidJerk,
    ExcessFlicker,
    Flicker,
    TopJaccard,
    WarpedFlicker,
    WarpedSpearman,
    flicker,
    top_jaccard,
    warped_flicker,
    warped_spearman,
)
from vidence.evaluate.measure import Case
from vidence.scoring.scores import Logit

ALL = (Flicker(), WarpedFlicker(), ExcessFlicker(), CentroidJerk(), WarpedSpearman(), TopJaccard())


def case(values, x=None):
    x = torch.rand(1, 3, *values.shape, generator=torch.Generator().manual_seed(0)) if x is None else x
    return Case(nn.Identity(), x, Logit(0), Gradient(), values.astype(np.float32))


def blob(t=5, h=32, w=48, step=3):
    """A blob that moves right by `step` pixels a frame."""
    rows, columns = np.mgrid[:h, :w]
    return np.stack([np.exp(-((rows - 16) ** 2 + (columns - 12 - step * i) ** 2) / 18) for i in range(t)])


def test_from_its_definition():
    values = np.random.default_rng(0).normal(size=(4, 5, 6))
    shares = [np.abs(b - a).sum() / (np.abs(a).sum() + np.abs(b).sum()) for a, b in pairwise(values)]
    assert flicker(values) == pytest.approx(np.mean(shares))
    assert flicker(-3 * values) == pytest.approx(np.mean(shares))


def test_a_still_map_is_0_and_one_that_jumps_is_1():
    still = np.ones((4, 6, 6))
    assert [measure(case(still)) for measure in (Flicker(), ExcessFlicker(), CentroidJerk())] == [0, 0, 0]
    jumping = np.zeros((4, 6, 6))
    jumping[::2, :3], jumping[1::2, 3:] = 1, 2
    assert Flicker()(case(jumping)) == 1
    once = np.zeros((5, 6, 6))
    once[2, 1, 1] = 1
    assert Flicker()(case(once)) == 0.5, "empty neighbours are still"


def test_a_blob_that_moves_with_the_exact_flow_does_not_flicker():
    values = blob()
    forward = torch.zeros(4, 2, 32, 48)
    forward[:, 1] = 3
    assert flicker(values) > 0.2
    assert warped_flicker(values, forward, -forward) < 1e-6
    assert warped_flicker(values, -forward, forward) > 0.3, "the wrong way round"


def test_only_pixels_with_a_trusted_flow_count():
    values = blob(t=2)
    values[1, :4] = 9  # appears where the flow is not to be trusted
    forward = torch.zeros(1, 2, 32, 48)
    forward[:, 1] = 3
    backward = -forward
    backward[:, 0, :4] = 7
    assert warped_flicker(values, forward, backward) < 1e-6
    assert warped_flicker(values, forward, -backward) is None, "no pixel comes back"


def test_a_map_that_follows_the_picture_flickers_less_along_the_flow():
    texture = np.random.default_rng(0).random((48, 96))
    texture = torch.nn.functional.avg_pool2d(torch.from_numpy(texture)[None, None], 5, 1, 2)[0, 0].numpy()
    frames = np.stack([np.roll(texture, 2 * i, axis=1)[:, 16:80] for i in range(5)])
    frames = (frames - frames.min()) / np.ptp(frames)
    x = torch.from_numpy(frames).float().expand(1, 3, *frames.shape)
    follows = case(blob(h=48, w=64, step=2), x)
    assert WarpedFlicker()(follows) < Flicker()(follows) / 4
    assert ExcessFlicker()(case(frames, x)) == pytest.approx(1)


def test_ranks_along_the_exact_flow_are_the_same():
    values, rng = np.random.default_rng(1).normal(size=(3, 9, 40)), np.random.default_rng(2)
    moving = np.stack([np.roll(values[0], 3 * i, axis=1) for i in range(3)])[:, :, 6:34]
    forward = torch.zeros(2, 2, 9, 28)
    forward[:, 1] = 3
    assert warped_spearman(moving, forward, -forward) == pytest.approx(1)
    assert warped_spearman(np.exp(moving) * np.array([1, 5, 9])[:, None, None], forward, -forward) == pytest.approx(1)
    assert abs(warped_spearman(moving, 0 * forward, 0 * forward)) < 0.3
    assert warped_spearman(moving, forward, forward) is None, "no pixel comes back"
    still = torch.zeros(2, 2, 5, 6)
    drawn = rng.normal(size=(3, 5, 6))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairwise(drawn)]
    assert warped_spearman(drawn, still, still) == pytest.approx(np.mean(expected))
    drawn[1] = 2
    assert warped_spearman(drawn, still, still) == 0, "the first pair; the second has no order to keep"


def test_the_strongest_places_from_their_definition():
    values, rng = np.random.default_rng(3).normal(size=(4, 6, 10)), np.random.default_rng(0)
    tops = [set(np.argsort(-frame.ravel())[:12]) for frame in values]
    expected = np.mean([len(a & b) / len(a | b) for a, b in pairwise(tops)])
    assert top_jaccard(values, 0.2, rng) == pytest.approx(expected)
    assert top_jaccard(np.repeat(values[:1], 4, axis=0), 0.2, rng) == 1
    assert top_jaccard(np.stack([values[0], -values[0]]), 0.2, rng) == 0
    values[1] = 1
    assert top_jaccard(values, 0.2, rng) == pytest.approx(len(tops[2] & tops[3]) / len(tops[2] | tops[3]))
    with pytest.raises(SpecError, match="share"):
        TopJaccard(share=1)


def test_the_flow_is_computed_once_for_all_maps(monkeypatch):
    asked, shared = [], {}
    own = consistency.dense_flow
    monkeypatch.setattr(consistency, "dense_flow", lambda clip: asked.append(1) or own(clip))
    x = torch.rand(1, 3, 5, 32, 48, generator=torch.Generator().manual_seed(0))
    for measure in (WarpedFlicker(), WarpedSpearman()):
        for values in (blob(), 2 * blob(step=1)):
            held = Case(nn.Identity(), x, Logit(0), Gradient(), values.astype(np.float32), shared=shared)
            assert measure(held) == measure(case(values, x))
    assert len(asked) == 2 * (1 + 4)


def test_an_even_motion_has_no_jerk():
    assert CentroidJerk()(case(blob(h=64, w=96))) < 0.02
    values = np.zeros((4, 10, 10))
    for t, column in enumerate((2, 2, 5, 5)):
        values[t, 4, column] = 1 + t
    assert CentroidJerk()(case(values)) == pytest.approx(3)
    values[3] = 0
    assert CentroidJerk()(case(values)) == pytest.approx(3)
    values[1] = 0
    assert CentroidJerk()(case(values)) is None


def test_nothing_is_said_of_images_and_zero_maps():
    for measure in ALL:
        assert measure(case(np.ones((1, 6, 6)))) is None
        assert measure(case(np.zeros((4, 6, 6)))) is None
    assert ExcessFlicker()(case(blob(), torch.ones(1, 3, 5, 32, 48))) is None, "nothing moves"
