"""EB-R as released (Bargal et al., CVPR 2018): ordinary gradients inside a recurrent unit, and nothing to the state.

Products with weights share out by excitation; the unit hands probability on by its derivative; the sum of W x and U h
gives all of it to W x, so that time is crossed in an LSTM's cell state alone; what reaches the frames is divided by its
total. This is what the published code does; the paper's own equations were not at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vidence.attribution.relevance.attributed import in_proportion
from vidence.attribution.relevance.recurrences import States, Step, lstm_step, relu_step
from vidence.errors import ExplainError

UNITS: dict[str, Step] = {"lstm": lstm_step, "rnn_relu": relu_step}


@dataclass(frozen=True, eq=False)
class ReleasedLayer:
    """One layer of an LSTM or of a ReLU RNN, forwards in time: weights, and the states before the first frame."""

    step: Step
    weights: Sequence[Tensor]
    first: States

    def run(self, frames: Float[Tensor, "t n f"]) -> tuple[Float[Tensor, "t n u"], States]:
        """All outputs, and the last states."""
        return self._unrolled(F.linear(frames, self.weights[0], self.weights[2] if len(self.weights) == 4 else None))

    def share(self, frames: Float[Tensor, "t n f"], arriving: Float[Tensor, "t n u"]) -> Float[Tensor, "t n f"]:
        """Multipliers of the frames, of the probability that arrives at the outputs; it is 1 in all again below."""
        bias = self.weights[2] if len(self.weights) == 4 else None
        with torch.enable_grad():
            wx = F.linear(frames, self.weights[0], bias).detach().requires_grad_()
            (excitation,) = torch.autograd.grad(self._unrolled(wx)[0], wx, arriving)
        found = in_proportion(lambda a: F.linear(a, self.weights[0].clamp(min=0)), frames, excitation)
        total = (found * frames).sum()
        return found / total if total > 0 else torch.zeros_like(found)

    def _unrolled(self, wx: Float[Tensor, "t n g"]) -> tuple[Float[Tensor, "t n u"], States]:
        states, outputs = self.first, []
        bias = self.weights[3] if len(self.weights) == 4 else None
        for frame in wx:
            states = self.step(frame, F.linear(states[0].detach(), self.weights[1], bias), states)
            outputs.append(states[0])
        return torch.stack(outputs), states


def released_layers(
    name: str,
    x: Tensor,
    state: Any,
    params: Sequence[Tensor],
    has_biases: Any,
    layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
) -> tuple[list[ReleasedLayer], bool]:
    """The layers of a call of torch.lstm or torch.rnn_relu, and whether its batch comes first.

    Raises `ExplainError` for what the release does not define.
    """
    size = 4 if has_biases is True else 2
    packed = not isinstance(has_biases, bool)  # (x, batch_sizes, state, params, ...)
    if packed or name not in UNITS or bidirectional or len(params) != layers * size:
        how = " of packed sequences" if packed else " in both directions" if bidirectional else ""
        raise ExplainError(
            "recurrent='as-released' is defined for an nn.LSTM or an nn.RNN of ReLU that runs forwards, and for no "
            f"{name.replace('_', ' of ')}{how} such as this model's. Take recurrent='z-plus'."
        )
    starts = (state,) if isinstance(state, Tensor) else tuple(state)
    made = [
        ReleasedLayer(UNITS[name], params[size * k : size * (k + 1)], tuple(part[k].detach() for part in starts))
        for k in range(layers)
    ]
    return made, batch_first


def run_released(
    found: tuple[list[ReleasedLayer], bool],
    x: Tensor,
    hand: Callable[[ReleasedLayer, Tensor], Tensor],
) -> tuple[Tensor, ...]:
    """What the call returns; `hand` computes a layer's outputs so that probability finds its way back."""
    layers, batch_first = found
    frames, ended = x.transpose(0, 1) if batch_first else x, []
    for layer in layers:
        ended.append([part.detach() for part in layer.run(frames.detach())[1]])
        frames = hand(layer, frames)
        if (frames < 0).any():
            raise ExplainError(
                "recurrent='as-released' needs states that are never negative: the release trains its LSTM with ReLU "
                "in place of tanh. Take recurrent='z-plus', which counts their positive part."
            )
    out = frames.transpose(0, 1) if batch_first else frames
    return out, *(torch.stack(part) for part in zip(*ended, strict=True))
