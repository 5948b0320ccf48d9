"""The four kinds of video models that methods differ on: what a model is made of decides which it belongs to."""

from __future__ import annotations

import re
from typing import Literal

from torch import nn

from vidence.attribution.two_stage import TwoStage
from vidence.models.conv_recurrent import ConvCell
from vidence.models.reconstruction import ReconstructionNetwork

Family = Literal["recurrent", "volume", "reconstruction", "transformer", "frames"]
NAMES: dict[Family, str] = {
    "recurrent": "a per-frame network with a recurrent head",
    "volume": "a 3-D convolutional network",
    "reconstruction": "an autoencoder or predictor",
    "transformer": "a video transformer",
    "frames": "a network without recurrent layer, 3-D convolution or attention",
}

# no class is shared among those who write their own attention: names of its linear projections, and of its class
QUERIES = {"qkv", "query", "q_proj", "to_q", "to_qkv", "query_key_value", "in_proj", "c_attn"}
ATTENTIONS = ("SelfAttention", "MultiHeadAttention", "SpaceTimeAttention")
# nor among those who write their own convolutional recurrent cell
CELL = re.compile(r"(conv_?)?(lstm|gru|rnn)(2d|3d)?_?cell|conv_?(lstm|gru|rnn)(2d|3d)?", re.IGNORECASE)
# a recurrent layer of one's own by its class's name; Keras layers are no modules, but what they learn has names
RECURRENT_NAME = re.compile(r"(bi|min|simple)?_?(lstm|gru|rnn)(_?layer)?|bidirectional", re.IGNORECASE)
KERAS_RECURRENT = "/recurrent_kernel"


def family_of(model: nn.Module) -> Family:
    """The family of a model by its modules; functional models count as `frames`.

    A network that reconstructs is one whatever it is made of; attention beats recurrence, which beats Conv3d.
    """
    if isinstance(model, ReconstructionNetwork):
        return "reconstruction"
    if attends(model):
        return "transformer"
    if isinstance(model, TwoStage) or remembers(model):
        return "recurrent"
    return "volume" if any(isinstance(module, nn.Conv3d) for module in model.modules()) else "frames"


def remembers(model: nn.Module) -> bool:
    """Whether a model has a recurrent layer or cell: torch's, Keras's, a convolutional one, or one that is called so.

    A recurrence written out in plain functions is not seen.
    """
    return (
        any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in model.modules())
        or any(path and RECURRENT_NAME.fullmatch(type(module).__name__) for path, module in model.named_modules())
        or any(name.endswith(KERAS_RECURRENT) for name, _ in model.named_parameters())
        or bool(cells(model))
    )


def why_not_alone(model: nn.Module) -> str:
    """Why what follows the frame features of a model cannot be run by itself, once no call of one's own was found."""
    if remembers(model):
        return (
            "the recurrent layer cannot be run alone, as nn.GRU, nn.LSTM or nn.RNN over all frames of a clip can where "
            "they are not packed"
        )
    return "no recurrent layer and no encode/decide was found"


def attends(model: nn.Module) -> bool:
    """Whether a model has self-attention: torch's own, a module with linear queries, or one that is called so."""
    return any(map(_is_attention, model.modules()))


def _is_attention(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.MultiheadAttention)
        or any(name in QUERIES and isinstance(child, nn.Linear) for name, child in module.named_children())
        or type(module).__name__.endswith(ATTENTIONS)
    )


def has_only_tokens(model: nn.Module) -> bool:
    """Whether a model attends and owns no convolution outside attention, but for one that may cut its patches.

    Behind a convolutional network, self-attention mixes the features of frames: then there are maps of several sizes.
    """
    inside = tuple(f"{path}." for path, module in model.named_modules() if _is_attention(module))
    owned = [path for path, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
    return attends(model) and sum(not path.startswith(inside) for path in owned) < 2


def cells(model: nn.Module) -> tuple[str, ...]:
    """Paths of the modules inside a model that are convolutional recurrent cells, of ours or by their class's name."""
    return tuple(
        path
        for path, module in model.named_modules()
        if path and (isinstance(module, ConvCell) or CELL.fullmatch(type(module).__name__))
    )
