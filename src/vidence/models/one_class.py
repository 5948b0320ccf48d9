"""Deep one-class classification: embeddings of what is normal lie near a centre, and the distance to it is a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.evaluating import evaluating
from vidence.models.reconstruction import Embedding, Reconstruction, ReconstructionNetwork

Svdd = Literal["none", "tuned", "joint", "scratch"]
Centre = Literal["mean", "off-zero", "zero", "kept"]
OFF_ZERO = 0.1  # Ruff et al. 2018: a centre's coordinate nearer to 0 than that is easily met by weights of 0


class OneClass(ReconstructionNetwork):
    """A reconstruction network whose output also says how far its code is from a centre.

    State dict: the network's own names behind `network.`, `centre` (d,), and `radius2`, the squared radius of the
    sphere that holds a share 1 - nu of the training embeddings. Training adds `weight` times the one-class loss to
    what it minimises. Raises `SpecError` for a network without an encoder. Ruff et al., Deep One-Class
    Classification, ICML 2018; Ravi's thesis, eq. 3.14.
    """

    centre: Tensor
    radius2: Tensor

    def __init__(
        self, network: ReconstructionNetwork, width: int, *, weight: float = 0.0, reconstructs: bool = True
    ) -> None:
        super().__init__()
        embedding(network)
        self.network = network
        self.first_frame, self.predicts_from = network.first_frame, network.predicts_from
        self.weight, self.reconstructs = weight, reconstructs
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("radius2", torch.zeros(()))

    @property
    def encoder(self) -> nn.Module:
        """The network's encoder."""
        return embedding(self.network).encoder

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The frames' codes, without decoding them."""
        return embedding(self.network).embed(x)

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """The network's output, with the squared distances of its codes."""
        output: Reconstruction = self.network(x)
        code = self.embed(x) if output.code is None else output.code
        return replace(output, code=code, distance=squared_distance(code, self.centre))

    def penalty(self, output: Reconstruction, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, ""]:
        """The network's own penalty, and the one-class loss."""
        added = self.network.penalty(output, x)
        if not self.weight or output.distance is None:
            return added
        return added + self.weight * one_class_loss(output.distance)


def embedding(network: nn.Module) -> Embedding:
    """The network as one with an encoder. Raises `SpecError` for another.

    Not `isinstance`: since Python 3.12 that does not see a module's own submodules.
    """
    if not isinstance(getattr(network, "encoder", None), nn.Module) or not callable(getattr(network, "embed", None)):
        raise SpecError(
            f"the SVDD step needs a network with `encoder` and `embed(x) -> (n, s, d)`; {type(network).__name__} has "
            "none. Choose an autoencoder such as bcae1, or give your own model both."
        )
    return network  # type: ignore[return-value]  # just checked


def code_width(network: nn.Module, size: tuple[int, int]) -> int:
    """The length d of a frame's code, for clips of `size` (t, side): found by embedding one black clip."""
    held = next(network.parameters(), torch.zeros(()))
    with evaluating(network):
        return embedding(network).embed(held.new_zeros(1, 3, size[0], size[1], size[1])).shape[-1]


def squared_distance(code: Float[Tensor, "n s d"], centre: Float[Tensor, " d"]) -> Float[Tensor, "n s"]:
    """Squared Euclidean distance of every frame's code."""
    return (code - centre).square().sum(dim=-1)


def one_class_loss(distance: Float[Tensor, " *shape"]) -> Float[Tensor, ""]:
    """The mean squared distance; the term on the weights is the caller's."""
    return distance.mean()


def soft_boundary_loss(distance: Float[Tensor, " *shape"], radius2: Float[Tensor, ""], nu: float) -> Float[Tensor, ""]:
    """R^2 + 1/nu mean max(0, d - R^2): a share nu may lie outside the sphere."""
    return radius2 + (distance - radius2).relu().mean() / nu


def boundary(distance: Float[Tensor, " *shape"], nu: float) -> Float[Tensor, ""]:
    """The squared radius outside which a share nu of the distances lies: their (1 - nu) quantile."""
    return torch.quantile(distance.detach().flatten().float(), 1 - nu)


def centre_of(mean: Float[Tensor, " d"], kind: Centre) -> Float[Tensor, " d"]:
    """The centre that `kind` makes of the mean embedding.

    `zero` is there to show its harm: an encoder without biases reaches it with weights of 0. `off-zero` is the mean,
    its coordinates at least 0.1 from 0 as in the published Deep SVDD. Raises `SpecError` for another kind.
    """
    if kind == "mean":
        return mean
    if kind == "zero":
        return torch.zeros_like(mean)
    if kind == "off-zero":
        away = torch.where(mean < 0, -OFF_ZERO, OFF_ZERO).to(mean)
        return torch.where(mean.abs() < OFF_ZERO, away, mean)
    raise SpecError(f"a centre made of embeddings is one of {', '.join(get_args(Centre)[:3])}; got {kind!r}.")
