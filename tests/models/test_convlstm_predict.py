import pytest
import torch

from vidence.errors import SpecError
from vidence.models.conv_recurrent import ConvCell
from vidence.models.convlstm_predict import ConvLSTMPredict, ConvLSTMPredictNetwork


@pytest.fixture
def network() -> ConvLSTMPredictNetwork:
    torch.manual_seed(0)
    made = ConvLSTMPredict(size=16, length=5, horizon=2).network().eval()
    for name, parameter in made.named_parameters():
        if name.endswith(("w_c", ".b")):  # zero before training: give them something to say
            torch.nn.init.normal_(parameter.data)
    return made


def test_it_reads_then_forecasts_frame_by_frame(network: ConvLSTMPredictNetwork) -> None:
    x = torch.rand(2, 3, 5, 16, 16)
    readers, forecasters = ([layer.cells[0] for layer in stack] for stack in (network.reader, network.forecaster))
    states: list = [None, None]

    def step(cells: list[ConvCell], maps: torch.Tensor) -> torch.Tensor:
        for place, cell in enumerate(cells):
            states[place] = cell.step(cell.project(maps), states[place])
            maps = states[place][0]
        return maps

    for t in range(3):
        seen = network.shrink(x[:, :, t])
        step(readers, seen)
    wanted = [network.grow(step(forecasters, seen)) for _ in range(2)]
    output = network(x)
    assert output.first_frame == 3
    torch.testing.assert_close(output.x_hat, torch.stack(wanted, dim=2), rtol=1e-4, atol=1e-6)


def test_a_forecast_does_not_see_what_it_forecasts(network: ConvLSTMPredictNetwork) -> None:
    x = torch.rand(1, 3, 5, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).x_hat.sum(), x)
    assert (gradient.abs().sum(dim=(0, 1, 3, 4)) > 0).tolist() == [True, True, True, False, False]


def test_a_shorter_end_of_a_video_gets_the_same_first_forecast(network: ConvLSTMPredictNetwork) -> None:
    x = torch.rand(1, 3, 5, 16, 16)
    torch.testing.assert_close(network(x[:, :, :4]).x_hat, network(x).x_hat[:, :, :1])


@pytest.mark.parametrize(("length", "horizon"), [(2, 4), (4, 4), (4, 0)])
def test_windows_of_which_nothing_is_read_or_forecast_are_refused(length: int, horizon: int) -> None:
    with pytest.raises(SpecError, match=rf"from 1 to length - 1.*horizon={horizon}, length={length}"):
        ConvLSTMPredict(length=length, horizon=horizon)


def test_each_frame_is_forecast_once() -> None:
    windows = ConvLSTMPredict(size=16, length=7, horizon=3).build().windows
    assert (windows.length, windows.stride) == (7, 3)
