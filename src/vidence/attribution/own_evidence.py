"""Detectors that explain themselves: `evidence`, the explainer of those without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import nn

from vidence.errors import ExplainError

OWN = "evidence"  # the line that stands for it


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a window's own evidence says as part of an `alarm`, and where there is none (`quiet`); and `examples`, a
    picture beside what is normal, if any.
    """

    alarm: str
    quiet: str
    examples: UInt8[np.ndarray, "h w 3"] | None = None

    @classmethod
    def of(cls, extra: Mapping[str, Any]) -> Reading:
        """Out of what belongs to a map."""
        alarm, quiet = extra["sentences"]
        return cls(alarm, quiet, extra.get("examples"))


def explains_itself(model: Any) -> bool:
    """Whether the evidence of a model is its own: a detector that has no network to look into."""
    return (
        not isinstance(model, nn.Module)
        and getattr(model, "network", None) is None
        and callable(getattr(model, "evidence", None))
    )


def check_own(model: Any, explainer: Any, score: Any) -> None:
    """Raise `ExplainError` unless what is asked of a detector that explains itself is its own evidence."""
    if explainer not in (None, OWN) or score not in (None, getattr(model, "score_line", None)):
        asked = f"the explainer {explainer!r}" if explainer not in (None, OWN) else f"the score {score!r}"
        raise ExplainError(
            f"{type(model).__name__} has no network, so nothing but its own evidence explains it, and that explains "
            f"its own score; got {asked}. Leave --explainer and --score out, or say --explainer {OWN}."
        )
