"""What cells look like: one map a picture, read at their places."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vidence.models.attribute_memory import centres
from vidence.models.cell_appearance import LARGER, LOOKS, CellAppearance
from vidence.models.mobilenet import MobileNetV2


@pytest.fixture(scope="module")
def made() -> CellAppearance:
    torch.manual_seed(0)
    return CellAppearance(MobileNetV2(padding="same", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))


def test_the_detail_of_a_large_picture_is_seen_and_weights_make_the_network_again(made: CellAppearance) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (128, 192, 3), dtype=np.uint8)
    looks = made.look(pixels, size=(64, 96))
    assert looks.shape == (1, LOOKS, 8, 12)
    assert LARGER == 2  # the picture itself is twice the analysed size
    larger = cv2.resize(pixels, (384, 256), interpolation=cv2.INTER_CUBIC)
    for shown, size in ((pixels, (64, 96)), (larger, (128, 192))):
        x = torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 255
        torch.testing.assert_close(made.look(pixels, size=size), made.backbone(x).detach(), rtol=1e-4, atol=1e-5)
    assert made.origin()["std"] == pytest.approx([0.25] * 3)
    again = CellAppearance.restored(made.origin())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.look(pixels, size=(64, 96)), looks)
    assert not any(one.requires_grad for one in made.parameters())


def test_brightness_of_features_does_not_count_and_their_direction_does(made: CellAppearance) -> None:
    features = torch.zeros(1, LOOKS, 1, 4)
    features[0, 0, 0, :2], features[0, 1, 0, 2:] = torch.tensor([3.0, 6.0]), torch.tensor([5.0, 1.0])
    found = made.read(features, centres((1, 4)))[0]
    expected = np.zeros((2, LOOKS), np.float32)
    expected[0, 0] = expected[1, 1] = LOOKS**0.5
    np.testing.assert_allclose(found[[0, 2]], expected, atol=1e-5)
    np.testing.assert_allclose(found[[1, 3]], expected, atol=1e-5)


def test_features_are_read_between_their_places_and_beyond_the_edge_goes_on(made: CellAppearance) -> None:
    features = torch.zeros(1, LOOKS, 2, 4)
    features[0, 0, :, 1], features[0, 1, :, 2] = 1.0, 1.0
    places = np.array([[[0.25, 0.5], [0.25, 0.375], [0.75, 3.0]]])  # half-way between two; on the first; beyond
    between, first, beyond = made.read(features, places)[0]
    assert between[:2] == pytest.approx([(LOOKS / 2) ** 0.5] * 2)
    assert first[:2] == pytest.approx([LOOKS**0.5, 0], abs=1e-5)
    assert not beyond.any()
