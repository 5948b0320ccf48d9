"""What an explanation is: a map per clip with what belongs to it. Explainers make them, and so do detectors that
explain themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vidence.record.facts import Certificate


@dataclass(frozen=True, slots=True, eq=False)
class Attributions:
    """A map per clip. `values` (n, t, i, j) float32 on the map's own grid, positive = towards the score;
    `raw` what the method computed before channels were reduced or frames interpolated; `gap` (n,) the completeness
    gap where the method promises completeness; `layer` the call site a feature map was taken from.
    """

    values: Float[Tensor, "n t i j"]
    raw: Tensor | None = None
    gap: Float[Tensor, " n"] | None = None
    layer: str | None = None
    certificate: Certificate = field(default_factory=Certificate)
    extra: Mapping[str, Any] = field(default_factory=dict)
