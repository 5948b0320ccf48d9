import pytest
import torch
from torch import nn

from vidence.errors import SpecError
from vidence.models.halving import check_size, doublings, halvings


def test_each_step_halves_or_doubles_the_side() -> None:
    x = torch.rand(2, 3, 40, 40)
    code = nn.Sequential(*halvings((3, 4, 5)))(x)
    assert code.shape == (2, 5, 10, 10)
    found = nn.Sequential(*doublings((5, 4, 3)))(code)
    assert found.shape == x.shape
    assert ((found > 0) & (found < 1)).all()


def test_a_side_that_cannot_be_halved_is_refused() -> None:
    check_size("vae", 48, multiple=16)
    with pytest.raises(SpecError, match="multiple of 16; got 40"):
        check_size("vae", 40, multiple=16)
