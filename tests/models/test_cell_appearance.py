"""What cells look like: one map a picture, read at their places."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vidence.models.cell_appearance import LARGER, LOOKS, CellAppearance
from vidence.models.mobilenet import MobileNetV2


@pytest.fixture(scope="module")
def made() -> CellAppearance:
    torch.manual_seed(0)
    return CellAppearance(MobileNetV2(padding="same", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))


def test_the_detail_of_a_large_picture_is_seen_and_weights_make_the_network_again(made: CellAppearance) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (128, 192, 3), dtype=np.uint8)
    looks = made.look(pixels, (5, 8), size=(64, 96))
    assert looks.shape == (5, 8, LOOKS)
    assert LARGER == 2  # the picture itself is twice the analysed size
    larger = cv2.resize(pixels, (384, 256), interpolation=cv2.INTER_CUBIC)
    for shown, size in ((pixels, (64, 96)), (larger, (128, 192))):
        x = torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 255
        expected = made.read(made.backbone(x), (5, 8)).detach().numpy()
        np.testing.assert_allclose(made.look(pixels, (5, 8), size=size), expected, rtol=1e-4, atol=1e-5)
    assert made.origin()["std"] == pytest.approx([0.25] * 3)
    again = CellAppearance.restored(made.origin())
    again.load_state_dict(made.state_dict())
    np.testing.assert_array_equal(again.look(pixels, (5, 8), size=(64, 96)), looks)
    assert not any(one.requires_grad for one in made.parameters())


def test_brightness_of_features_does_not_count_and_their_direction_does(made: CellAppearance) -> None:
    features = torch.zeros(1, LOOKS, 1, 4)
    features[0, 0, 0, :2], features[0, 1, 0, 2:] = torch.tensor([3.0, 6.0]), torch.tensor([5.0, 1.0])
    found = made.read(features, (1, 4))[0]
    expected = torch.zeros(2, LOOKS)
    expected[0, 0] = expected[1, 1] = LOOKS**0.5
    torch.testing.assert_close(found[[0, 2]], expected)
    torch.testing.assert_close(found[[1, 3]], expected)
