"""The four kinds of video models that methods differ on: what a model is made of decides which it belongs to."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vidence.attribution.two_stage import TwoStage
from vidence.models.reconstruction import ReconstructionNetwork

Family = Literal["recurrent", "volume", "reconstruction", "transformer", "frames"]
NAMES: dict[Family, str] = {
    "recurrent": "a per-frame network with a recurrent head",
    "volume": "a 3-D convolutional network",
    "reconstruction": "an autoencoder or predictor",
    "transformer": "a video transformer",
    "frames": "a network without recurrent layer, 3-D convolution or attention",
}


def family_of(model: nn.Module) -> Family:
    """The family of a model by its modules; functional models count as `frames`.

    A network that reconstructs is one whatever it is made of; attention beats recurrence, which beats Conv3d.
    """
    if isinstance(model, ReconstructionNetwork):
        return "reconstruction"
    modules = list(model.modules())
    if any(isinstance(module, nn.MultiheadAttention) or _attends(module) for module in modules):
        return "transformer"
    if isinstance(model, TwoStage) or any(isinstance(m, nn.RNNBase | nn.RNNCellBase) for m in modules):
        return "recurrent"
    return "volume" if any(isinstance(module, nn.Conv3d) for module in modules) else "frames"


def _attends(module: nn.Module) -> bool:
    """Whether a module is a self-attention by its name: no class is shared among those who write their own."""
    name = type(module).__name__
    return name.endswith(("SelfAttention", "MultiHeadAttention", "SpaceTimeAttention"))
