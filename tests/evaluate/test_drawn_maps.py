"""A part that was drawn of this clip is not drawn again; of any other clip it is."""

import pytest
import torch

from linear_clip import Linear
from vidence.attribution import Gradient, Occlusion
from vidence.attribution.combine import Product, Smooth
from vidence.evaluate.drawn_maps import DrawnMaps
from vidence.scoring.scores import Logit

X = torch.rand(1, 3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
OCCLUSION = Occlusion(box=(1, 3, 3), stride=(1, 3, 3))


class Counting(Linear):
    asked = 0

    def forward(self, x):
        Counting.asked += len(x)
        return super().forward(x)


def test_a_part_is_drawn_once_and_counts_its_time():
    model, score = Counting(torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(1))), Logit(0)
    product = Product(of=(Gradient(), OCCLUSION))
    plain = product.attribute(model, X, score, certify=False)
    maps = DrawnMaps(model, X, score)
    _, seconds = maps.attributed(OCCLUSION)
    Counting.asked = 0
    found, whole = maps.attributed(product)
    assert torch.equal(found.values, plain.values)
    assert Counting.asked == Gradient().price(2, 6, 6).forwards
    assert whole > seconds
    Counting.asked = 0
    maps.attributed(Product(of=(Gradient(), Occlusion(box=(1, 2, 2), stride=(1, 2, 2)))))
    assert Counting.asked > 9  # other settings are another map


def test_under_noise_parts_are_of_other_clips():
    model, score = Counting(torch.rand(2, 6, 6)), Logit(0)
    smooth = Smooth(Product(of=(Gradient(), OCCLUSION)), n=2)
    maps = DrawnMaps(model, X, score)
    maps.attributed(OCCLUSION)
    mixed = Product(of=(Gradient(), smooth))
    assert maps.attributed(mixed)[0].values == pytest.approx(mixed.attribute(model, X, score, certify=False).values)
