import pytest
import torch

from vidence.errors import ShapeError
from vidence.models.stacked_autoencoder import ConvAE, ConvAENetwork


def made(**settings: int) -> ConvAENetwork:
    torch.manual_seed(0)
    return ConvAE(size=32, length=3, **settings).network().eval()  # type: ignore[arg-type]


def test_it_is_one_picture_whose_channels_are_the_frames() -> None:
    network, x = made(channels=3), torch.rand(2, 3, 3, 32, 32)
    picture = torch.stack([x[:, c, t] for t in range(3) for c in range(3)], dim=1)
    found = network.decoder(network.encoder(picture))
    wanted = torch.stack([torch.stack([found[:, 3 * t + c] for t in range(3)], dim=1) for c in range(3)], dim=1)
    torch.testing.assert_close(network(x).x_hat, wanted)


def test_all_frames_share_a_code() -> None:
    network, x = made(), torch.rand(2, 3, 3, 32, 32)
    assert network.embed(x).shape == (2, 3, 32 * 2 * 2)
    assert torch.equal(network.embed(x)[:, 0], network(x).code[:, 2])  # type: ignore[index]


def test_gray_is_the_default_and_other_lengths_are_refused() -> None:
    assert made()(torch.rand(1, 3, 3, 32, 32)).x_hat.shape[1] == 1
    with pytest.raises(ShapeError, match="3 frames as one picture; got 2"):
        made()(torch.rand(1, 3, 2, 32, 32))
