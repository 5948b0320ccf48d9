"""What the score loses when cells of a clip are hidden: the ground of the measures of faithfulness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vidence.attribution.perturb.fills import Fill
from vidence.evaluate.cells import Cut, cells_of, check_cells
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.references import Concealed, Scale, check_reference, concealed_of


@dataclass(frozen=True, slots=True, eq=False)
class CellClip:
    """A clip in cells: `labels` number the cell of each pixel."""

    concealed: Concealed
    labels: Int[np.ndarray, "t h w"]

    @property
    def count(self) -> int:
        """How many cells there are."""
        return int(self.labels.max()) + 1

    @property
    def whole(self) -> float:
        """The score with nothing hidden."""
        return self.concealed.whole

    @property
    def fall(self) -> float | None:
        """What hiding everything takes from the score; None where that is next to nothing (`Concealed.fall`)."""
        return self.concealed.fall

    def scores(self, hidden: Bool[np.ndarray, "v m"], *, label: str) -> Float[np.ndarray, " v"]:
        """The score of each variant, whose hidden cells are True; those of all and of none are asked once a clip."""
        every, some = hidden.all(axis=1), hidden.any(axis=1)
        found = np.full(len(hidden), self.whole)
        if every.any():
            found[every] = self.concealed.empty
        left = hidden[some & ~every]
        if len(left):
            found[some & ~every] = self.concealed.scores(lambda a, b: left[a:b][:, self.labels], len(left), label=label)
        return found


@dataclass(frozen=True)
class Removal(Measure):
    """A measure that hides cells of the clip behind a reference and asks the model again.

    `cells`, `grid` and `depth` say how the clip is cut (`cells.cells_of`), `fill` what hidden places show
    (`references.Concealed`). `scale` is the score that was explained, or the probability of its class.
    """

    cells: Cut = "grid"
    grid: int = 16
    depth: int = 1
    fill: Fill = "auto"
    scale: Scale = "score"
    aspect = "faithfulness"

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_cells(self.cells, grid=self.grid, depth=self.depth)
        check_reference(self.fill, self.scale)

    def clip(self, case: Case) -> CellClip:
        """The clip in its cells, ready to be hidden."""
        labels = cells_of(case.x, self.cells, grid=self.grid, depth=self.depth)
        return CellClip(concealed_of(case, self.fill, self.scale), labels)
