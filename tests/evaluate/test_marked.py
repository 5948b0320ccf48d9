"""A region carries what hiding it takes, as a share of what hiding everything takes."""

import numpy as np
import pytest
import torch

from linear_clip import Linear
from vidence.attribution import Gradient
from vidence.errors import ShapeError
from vidence.evaluate.marked import marked_share
from vidence.evaluate.measure import Case
from vidence.scoring.scores import Logit

T, H, W = 4, 6, 6
BLOCK = torch.zeros(T, H, W)
BLOCK[1:3, 2:5, 2:5] = 1  # 18 pixels of 144


def case(values=None, worth=None, **given):
    values = BLOCK.numpy() if values is None else values
    return Case(
        Linear(BLOCK * 0.9 + 0.1 if worth is None else worth),
        torch.ones(1, 3, T, H, W),
        Logit(0),
        Gradient(),
        values,
        **given,
    )


def test_the_region_carries_its_share_of_a_linear_score():
    found = marked_share(case(), BLOCK.numpy() > 0, fill=0)
    total = 18 + 0.1 * (144 - 18)
    assert found.size == 18 / 144
    assert found.marked == pytest.approx(18 / total, abs=1e-5)
    assert len(found.elsewhere) == 8
    assert found.random < found.marked
    assert all(18 * 0.1 / total - 1e-5 <= each <= found.marked + 1e-5 for each in found.elsewhere)


def test_copies_are_everywhere_on_average():
    found = marked_share(case(), BLOCK.numpy() > 0, fill=0, draws=400)
    assert found.random == pytest.approx(found.size, abs=0.02)  # chance


def test_a_region_that_was_marked_is_taken_as_it_is():
    region = np.zeros((T, H, W), bool)
    region[0] = True
    found = marked_share(case(), region, fill=0)
    assert found.size == 1 / 4
    assert found.marked == pytest.approx(0.1 * 36 / (18 + 12.6), abs=1e-5)
    assert marked_share(case(), ~region & region) is None


def test_nothing_is_said_where_hiding_does_not_lower_the_score():
    assert marked_share(case(worth=-BLOCK), BLOCK.numpy() > 0, fill=0) is None


def test_draws_depend_on_the_seed_alone():
    first, same, other = (marked_share(case(seed=seed), BLOCK.numpy() > 0, fill=0) for seed in (1, 1, 2))
    assert first == same != other


def test_what_is_no_region_is_refused():
    with pytest.raises(ShapeError, match="bool \\(4, 6, 6\\)"):
        marked_share(case(), BLOCK.numpy())
