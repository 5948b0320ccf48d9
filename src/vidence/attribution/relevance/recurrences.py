"""Recurrent layers and cells step by step, out of linear operations, elementwise functions and products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from vidence.attribution.relevance.propagation import Propagation

Projected: TypeAlias = Float[Tensor, "n g"]
States: TypeAlias = tuple[Tensor, ...]  # hidden state (n, u), and an LSTM's cell state
Step: TypeAlias = Callable[[Projected, Projected, States], States]  # of the input's and the state's projections


def gru_step(wx: Projected, wh: Projected, states: States) -> States:
    """H' = (1 - z) n + z h with n = tanh(W_n x + r (U_n h)); gates in the order r, z, n."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = wx.chunk(3, dim=1), wh.chunk(3, dim=1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    n = torch.tanh(n_x + r * n_h)
    return ((1 - z) * n + z * states[0],)


def lstm_step(wx: Projected, wh: Projected, states: States) -> States:
    """C' = f c + i g, h' = o tanh(c'); gates in the order i, f, g, o."""
    i, f, g, o = (wx + wh).chunk(4, dim=1)
    c = torch.sigmoid(f) * states[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def tanh_step(wx: Projected, wh: Projected, states: States) -> States:
    """H' = tanh(W x + U h)."""
    return (torch.tanh(wx + wh),)


def relu_step(wx: Projected, wh: Projected, states: States) -> States:
    """H' = relu(W x + U h)."""
    return (torch.relu(wx + wh),)


def _layer(step: Step) -> Callable[..., Any]:
    """torch.gru, torch.lstm, torch.rnn_tanh or torch.rnn_relu of sequences that are not packed."""

    def of(
        by: Propagation,
        x: Tensor,
        state: Any,
        params: Sequence[Tensor],
        has_biases: Any,
        layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool = False,
    ) -> Any:
        if train and dropout:
            return NotImplemented

        def parts() -> tuple[Tensor, ...]:
            first = tuple(_start(by, part) for part in _states(state))
            frames = x.transpose(0, 1) if batch_first else x  # (t, n, f)
            ended: list[States] = []
            ways = 1 + bidirectional
            size = len(params) // (layers * ways)
            for layer in range(layers):
                outputs = []
                for way in range(ways):
                    place = layer * ways + way
                    weights = params[place * size : (place + 1) * size]
                    start = tuple(part[place] for part in first)
                    made, last = _unrolled(step, frames, start, weights, has_biases, backwards=bool(way))
                    outputs.append(made)
                    ended.append(last)
                frames = outputs[0] if ways == 1 else torch.cat(outputs, dim=2)
            out = frames.transpose(0, 1) if batch_first else frames
            return out, *(torch.stack(part) for part in zip(*ended, strict=True))

        return parts

    return of


def _packed_or_not(step: Step) -> Callable[..., Any]:
    """The same of packed sequences, too, where all are as long; several lengths are left to be refused."""
    layer = _layer(step)

    def of(by: Propagation, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(args[2], bool):
            return layer(by, x, *args, **kwargs)
        sizes, *rest = args  # packed: (x, batch_sizes, state, params, has_biases, ...)
        if bool((sizes != sizes[0]).any()) or layer(by, x, *rest) is NotImplemented:
            return NotImplemented

        def parts() -> tuple[Tensor, ...]:
            out, *ended = layer(by, x.reshape(len(sizes), -1, x.shape[1]), *rest)()
            return out.flatten(0, 1), *ended

        return parts

    return of


def _unrolled(
    step: Step,
    frames: Float[Tensor, "t n f"],
    states: States,
    weights: Sequence[Tensor],
    has_biases: bool,
    *,
    backwards: bool,
) -> tuple[Float[Tensor, "t n u"], States]:
    """One layer in one direction: its outputs in the frames' order, and its last states."""
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:4] if has_biases else (None, None)
    narrowed = weights[4:] if has_biases else weights[2:]  # an LSTM's projection of its hidden state
    projected = F.linear(frames, w_ih, b_ih).unbind(0)
    outputs = []
    for wx in reversed(projected) if backwards else projected:
        states = step(wx, F.linear(states[0], w_hh, b_hh), states)
        if narrowed:
            states = (F.linear(states[0], narrowed[0]), *states[1:])
        outputs.append(states[0])
    return torch.stack(outputs[::-1] if backwards else outputs), states


def _cell(step: Step) -> Callable[..., Any]:
    """torch.gru_cell, torch.lstm_cell, torch.rnn_tanh_cell or torch.rnn_relu_cell."""

    def of(
        by: Propagation, x: Tensor, state: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None
    ) -> Any:
        def parts() -> Any:
            states = tuple(_start(by, part) for part in _states(state))
            made = step(F.linear(x, w_ih, b_ih), F.linear(states[0], w_hh, b_hh), states)
            return made if len(made) > 1 else made[0]

        return parts

    return of


def _states(state: Any) -> States:
    return (state,) if isinstance(state, Tensor) else tuple(state)


def _start(by: Propagation, state: Tensor) -> Tensor:
    return state if state.requires_grad else by.initial_state(state)


RECURRENT: dict[str, Callable[..., Any]] = {
    "gru": _packed_or_not(gru_step),
    "lstm": _packed_or_not(lstm_step),
    "rnn_tanh": _packed_or_not(tanh_step),
    "rnn_relu": _packed_or_not(relu_step),
    "gru_cell": _cell(gru_step),
    "lstm_cell": _cell(lstm_step),
    "rnn_tanh_cell": _cell(tanh_step),
    "rnn_relu_cell": _cell(relu_step),
}
