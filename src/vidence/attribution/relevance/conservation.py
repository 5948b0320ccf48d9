"""Where relevance went: what each layer received from above, handed on below, and what kept the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One layer's relevance, in units of the score, backwards: received = handed_on + all that is absorbed.

    `rule` is what a rule lost: outputs without support, a softmax, an elementwise function that is not 0 at 0.
    """

    layer: str
    received: float = 0.0
    handed_on: float = 0.0
    bias: float = 0.0
    epsilon: float = 0.0
    rule: float = 0.0
    initial_states: float = 0.0
    constants: float = 0.0

    @property
    def absorbed(self) -> float:
        """What does not reach the pixels from here."""
        return sum(self.causes.values())

    @property
    def causes(self) -> dict[str, float]:
        """What is absorbed, by its cause."""
        return {name: getattr(self, name) for name in CAUSES}


CAUSES = ("bias", "epsilon", "rule", "initial_states", "constants")
COLUMNS = tuple(field.name for field in fields(LedgerRow))[1:]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The rows of one explanation in the order of computation; `score` = sum of the map + what they absorb + gap."""

    score: float
    mapped: float
    rows: tuple[LedgerRow, ...]

    @property
    def causes(self) -> dict[str, float]:
        """What is absorbed in all layers together, by its cause."""
        return {name: sum(getattr(row, name) for row in self.rows) for name in CAUSES}

    @property
    def gap(self) -> float:
        """What is not named, in units of the score."""
        return self.score - self.mapped - sum(self.causes.values())

    def __str__(self) -> str:
        """A table in plain text."""
        wide = max([len(row.layer) for row in self.rows] + [5])
        head = f"{'layer':{wide}} " + " ".join(f"{name.replace('_', ' '):>14}" for name in COLUMNS)
        lines = [
            f"{row.layer:{wide}} " + " ".join(f"{getattr(row, name):14.6g}" for name in COLUMNS) for row in self.rows
        ]
        foot = f"score {self.score:.6g} = map {self.mapped:.6g} + absorbed {sum(self.causes.values()):.6g}"
        return "\n".join([head, *lines, f"{foot} + not named {self.gap:.3g}"])


class Accounts:
    """What is written down while relevance travels: sums stay on the device until the end."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Tensor] = {}
        self._layers: list[str] = []

    def open(self, layer: str) -> Callable[..., None]:
        """A page for a layer, in the order in which layers are called; it is told amounts by the row's columns."""
        if layer not in self._layers:
            self._layers.append(layer)

        def write(**amounts: Tensor) -> None:
            for column, amount in amounts.items():
                key = (layer, column)
                self._sums[key] = self._sums.get(key, 0) + amount.detach().double()

        return write

    def rows(self) -> tuple[LedgerRow, ...]:
        """A row for each layer that received or absorbed anything."""
        found = {key: float(value) for key, value in self._sums.items()}
        rows = [LedgerRow(layer, **{c: found.get((layer, c), 0.0) for c in COLUMNS}) for layer in self._layers]
        return tuple(row for row in rows if any(getattr(row, column) for column in COLUMNS))


def relevance(a: Tensor, c: Tensor) -> Tensor:
    """The sum of a c; what nothing came back for is 0, even where a is infinite (a masked attention)."""
    return torch.where(c == 0, 0, a * c).double().sum()
