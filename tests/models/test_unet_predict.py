import pytest
import torch

from vidence.errors import ShapeError
from vidence.models.reconstruction import Reconstruction
from vidence.models.unet_predict import UNetPredict, UNetPredictNetwork


@pytest.fixture
def network() -> UNetPredictNetwork:
    torch.manual_seed(0)
    return UNetPredict(size=16, width=2, past=3, length=6, gradient=0.5).network().eval()


def test_each_prediction_is_that_of_its_past_alone(network: UNetPredictNetwork) -> None:
    x = torch.rand(2, 3, 6, 16, 16)
    output = network(x)
    assert output.first_frame == 3
    alone = [network(x[:, :, last - 3 : last + 1]).x_hat for last in (3, 4, 5)]
    torch.testing.assert_close(output.x_hat, torch.cat(alone, dim=2))


def test_a_prediction_does_not_see_its_frame(network: UNetPredictNetwork) -> None:
    x = torch.rand(1, 3, 6, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).x_hat[:, :, 1].sum(), x)
    assert (gradient.abs().sum(dim=(0, 1, 3, 4)) > 0).tolist() == [False, True, True, True, False, False]


def test_the_penalty_is_the_paper_s_gradient_loss(network: UNetPredictNetwork) -> None:
    x, x_hat = torch.rand(1, 3, 4, 5, 5), torch.rand(1, 3, 1, 5, 5)
    truth = x[0, :, 3]
    across, down = [], []
    for c in range(3):
        for i in range(5):
            for j in range(5):
                if j:
                    slopes = (abs(each[c, i, j] - each[c, i, j - 1]) for each in (x_hat[0, :, 0], truth))
                    across.append(abs(next(slopes) - next(slopes)))
                if i:
                    slopes = (abs(each[c, i, j] - each[c, i - 1, j]) for each in (x_hat[0, :, 0], truth))
                    down.append(abs(next(slopes) - next(slopes)))
    wanted = 0.5 * (torch.stack(across).mean() + torch.stack(down).mean())
    torch.testing.assert_close(network.penalty(Reconstruction(x_hat, first_frame=3), x), wanted)
    assert network.penalty(Reconstruction(x[:, :, 3:], first_frame=3), x) == 0


def test_an_image_has_no_past(network: UNetPredictNetwork) -> None:
    with pytest.raises(ShapeError, match="3 frames and the one that follows; got 1"):
        network(torch.rand(1, 3, 1, 16, 16))
