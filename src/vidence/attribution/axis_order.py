"""Whether a model of a user's own takes a clip's axes in another order than ours, which need not raise an error."""

from __future__ import annotations

from contextlib import suppress

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import EveryConvolution
from vidence.attribution.outputs import FOREIGN
from vidence.errors import ExplainError
from vidence.models.adapted import OURS, Adapted

COLOURS = (1, 3)  # pictures in grey or colour have so many channels
OTHERS = ("n t c h w", "n t h w c")  # what models of video take besides


def check_axes(model: nn.Module, x: Float[Tensor, "n c t h w"]) -> None:
    """Raise `ExplainError` where the first convolution is given another axis of the clip than c for its channels.

    Asked of clips with neither 1 nor 3 channels but another axis of 1 or 3, at the price of a pass. A model inside
    `Adapted` is believed: its order was said. One without a convolution, or that fails, tells nothing here.
    """
    meant = {other: x.shape[other.split().index("c")] for other in OTHERS}
    told = any(isinstance(module, Adapted) for module in model.modules())
    if told or x.shape[1] in COLOURS or not any(size in COLOURS for size in meant.values()):
        return
    calls = EveryConvolution(model)
    with suppress(*FOREIGN), torch.no_grad(), calls:
        model(x[:1])
    first = next(iter(calls.sites.values()), None)
    channels = x.shape[1] if first is None else first.inputs[0].shape[1]
    for other, size in meant.items():
        if size == channels != x.shape[1]:
            raise ExplainError(
                f"a clip must be (n, c, t, h, w); of {tuple(x.shape)}, which has {x.shape[1]} channels so, the model's "
                f"first convolution was given {size}. If x is {other!r} as the model takes it, pass "
                f"rearrange(x, '{other} -> {OURS}') and Adapted(model, layout='{other}'); if not: Adapted(model)."
            )
