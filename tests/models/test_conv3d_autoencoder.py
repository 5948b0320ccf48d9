import pytest
import torch

from vidence.errors import SpecError
from vidence.models.conv3d_autoencoder import Conv3dAE, Conv3dAENetwork


@pytest.fixture
def network() -> Conv3dAENetwork:
    torch.manual_seed(0)
    return Conv3dAE(size=32).network().eval()


def test_an_odd_length_is_continued_with_the_last_frame_and_cut_again(network: Conv3dAENetwork) -> None:
    x = torch.rand(1, 3, 6, 32, 32)
    longer = torch.cat([x, x[:, :, 5:], x[:, :, 5:]], dim=2)
    short, whole = network(x), network(longer)
    torch.testing.assert_close(short.x_hat, whole.x_hat[:, :, :6])
    torch.testing.assert_close(short.code, whole.code[:, :6])


def test_four_frames_share_a_code(network: Conv3dAENetwork) -> None:
    code = network.embed(torch.rand(2, 3, 8, 32, 32))
    assert code.shape == (2, 8, 64 * 2 * 2)
    assert torch.equal(code[:, 0], code[:, 3])
    assert not torch.equal(code[:, 3], code[:, 4])


def test_it_looks_at_time(network: Conv3dAENetwork) -> None:
    x = torch.rand(1, 3, 8, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).x_hat[:, :, 3].sum(), x)
    assert (gradient.abs().sum(dim=(0, 1, 3, 4)) > 0)[[2, 3, 4]].all()


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(SpecError, match="multiple of 16"):
        Conv3dAE(size=40)
