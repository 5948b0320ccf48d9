"""One-class networks: distances and losses from their formulas, the centre's kinds, what wraps and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.one_class import (
    OneClass,
    boundary,
    centre_of,
    code_width,
    embedding,
    one_class_loss,
    soft_boundary_loss,
    squared_distance,
)
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, frame_errors
from vidence.models.reconstruction_detector import ReconstructionSettings


class Averages(ReconstructionNetwork):
    """Two numbers a frame, from a linear layer on the means of its colours; it reconstructs the frame's brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 2)
        self.decoder = nn.Linear(2, 1)

    def embed(self, x: Tensor) -> Tensor:
        return self.encoder(x.mean(dim=(3, 4)).transpose(1, 2))

    def forward(self, x: Tensor) -> Reconstruction:
        code = self.embed(x)
        flat = self.decoder(code).sigmoid().transpose(1, 2)[..., None, None]
        return Reconstruction(flat.expand(-1, -1, -1, *x.shape[3:]), code=code)

    def penalty(self, output: Reconstruction, x: Tensor) -> Tensor:
        return output.x_hat.new_tensor(0.25)


class Blind(ReconstructionNetwork):
    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(x)


@dataclass(frozen=True, kw_only=True)
class AveragesSettings(ReconstructionSettings):
    size: int = 16

    def network(self) -> ReconstructionNetwork:
        return Averages()


@dataclass(frozen=True, kw_only=True)
class BlindSettings(ReconstructionSettings):
    def network(self) -> ReconstructionNetwork:
        return Blind()


def test_the_distance_is_added_to_an_output_that_stays_what_it_was() -> None:
    inner = Averages()
    network = OneClass(inner, 2)
    network.centre.copy_(torch.tensor([0.5, -1.0]))
    x = torch.rand(2, 3, 4, 8, 8)
    output, plain = network(x), inner(x)
    assert torch.equal(output.x_hat, plain.x_hat)
    first, second = plain.code.detach().unbind(dim=-1)
    torch.testing.assert_close(output.distance.detach(), (first - 0.5) ** 2 + (second + 1) ** 2)
    torch.testing.assert_close(frame_errors(output, x, "centre-distance"), output.distance)
    torch.testing.assert_close(network.embed(x), plain.code)
    assert network.encoder is inner.encoder
    assert {name for name in network.state_dict() if "." not in name} == {"centre", "radius2"}
    assert {name.removeprefix("network.") for name in network.state_dict() if "." in name} == set(inner.state_dict())


def test_losses_are_those_of_the_papers() -> None:
    distance = torch.tensor([[1.0, 2.0], [5.0, 8.0]])
    assert float(one_class_loss(distance)) == 4.0
    # R^2 + 1/nu mean max(0, d - R^2) = 4 + 1/0.5 (1 + 4) / 4
    assert float(soft_boundary_loss(distance, torch.tensor(4.0), 0.5)) == 4 + 2 * 5 / 4
    assert float(soft_boundary_loss(distance, torch.tensor(0.0), 0.1)) == pytest.approx(10 * 4.0)
    spread = torch.arange(101.0)
    assert float(boundary(spread, 0.01)) == pytest.approx(99.0)
    assert float((spread > boundary(spread, 0.1)).float().mean()) <= 0.1


def test_distances_have_gradients_towards_the_centre() -> None:
    code = torch.tensor([[[3.0, 4.0]]], requires_grad=True)
    one_class_loss(squared_distance(code, torch.tensor([1.0, 1.0]))).backward()
    assert code.grad is not None
    torch.testing.assert_close(code.grad, torch.tensor([[[4.0, 6.0]]]))


def test_kinds_of_centres() -> None:
    mean = torch.tensor([0.05, -0.05, 0.0, 0.3, -2.0])
    assert torch.equal(centre_of(mean, "mean"), mean)
    assert torch.equal(centre_of(mean, "zero"), torch.zeros(5))
    torch.testing.assert_close(centre_of(mean, "off-zero"), torch.tensor([0.1, -0.1, 0.1, 0.3, -2.0]))
    with pytest.raises(SpecError, match="mean, off-zero, zero"):
        centre_of(mean, "kept")


def test_the_penalty_is_the_networks_own_and_the_weighted_loss() -> None:
    x = torch.rand(2, 3, 4, 8, 8)
    network = OneClass(Averages(), 2, weight=0.5)
    with torch.no_grad():
        output = network(x)
    assert float(network.penalty(output, x)) == pytest.approx(0.25 + 0.5 * float(output.distance.mean()))
    assert float(OneClass(Averages(), 2).penalty(output, x)) == 0.25


@pytest.mark.parametrize(("svdd", "weight"), [("tuned", 0.0), ("joint", 0.01)])
def test_settings_wrap_the_network(svdd: str, weight: float) -> None:
    network = AveragesSettings(svdd=svdd, svdd_weight=0.01).build().network
    assert isinstance(network, OneClass)
    assert network.weight == weight
    assert network.centre.shape == (2,)
    assert isinstance(AveragesSettings().build().network, Averages)
    assert code_width(Averages(), (3, 16)) == 2


def test_what_is_refused() -> None:
    with pytest.raises(SpecError, match="encoder"):
        BlindSettings(svdd="tuned").build()
    with pytest.raises(SpecError, match="encoder"):
        embedding(nn.Linear(2, 2))
    with pytest.raises(SpecError, match="svdd"):
        AveragesSettings(svdd="yes")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="positive"):
        AveragesSettings(svdd="joint", svdd_weight=0.0)
    with pytest.raises(SpecError, match="centre-distance"):
        AveragesSettings(svdd="scratch")
