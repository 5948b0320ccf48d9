"""What cells look like: one map a picture, read at their places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidence.models.cell_appearance import CHANNELS, LOOKS, CellAppearance
from vidence.models.mobilenet import MobileNetV2


@pytest.fixture(scope="module")
def made() -> CellAppearance:
    torch.manual_seed(0)
    return CellAppearance(MobileNetV2(padding="same", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))


def test_a_large_picture_is_shrunk_and_weights_make_the_network_again(made: CellAppearance) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (128, 192, 3), dtype=np.uint8)
    assert made.look(pixels, (5, 8), height=64).shape == (5, 8, LOOKS)
    assert made.origin()["std"] == pytest.approx([0.25] * 3)
    again = CellAppearance.restored(made.origin())
    again.load_state_dict(made.state_dict())
    np.testing.assert_array_equal(again.look(pixels, (5, 8), height=128), made.look(pixels, (5, 8), height=128))
    assert not any(one.requires_grad for one in made.parameters())


def test_brightness_of_features_does_not_count_and_their_direction_does(made: CellAppearance) -> None:
    features = torch.zeros(1, CHANNELS, 1, 4)
    features[0, 0, 0, :2], features[0, 1, 0, 2:] = torch.tensor([3.0, 6.0]), torch.tensor([5.0, 1.0])
    found = made.read(features, (1, 4))[0]
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], found[3])
    torch.testing.assert_close(found[0], CHANNELS**0.5 * made.directions[0])
    torch.testing.assert_close(found[2], CHANNELS**0.5 * made.directions[1])
