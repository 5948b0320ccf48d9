"""How much do maps mark where nothing happens? (methods.md B.3: clips without a mask are told apart.)"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

from vidence.evaluate.agreement import Agreement, Maps
from vidence.evaluate.bootstrap import bounds, draws


def quiet_mass(
    clips: Sequence[Maps], events: Sequence[bool], sources: Sequence[Hashable], *, seed: int = 0
) -> list[Agreement]:
    """Each explainer's mean positive mass a cell in clips without an event, over that in clips with one: 0 is a map
    that marks nothing where nothing happens, 1 one that marks as much. `n` counts the clips without an event.

    `events` and `sources` are the clips'. An explainer without maps of both kinds, or without any positive mass where
    something happens, has none.
    """
    found = []
    for line in dict.fromkeys(line for maps in clips for line in maps):
        held = [i for i, maps in enumerate(clips) if line in maps]
        mass = np.array([np.maximum(clips[i][line], 0).mean() for i in held], np.float64)
        loud = np.array([events[i] for i in held])
        counts = draws([sources[i] for i in held], seed=seed)
        told = _ratios(mass, loud, np.concatenate([np.ones((1, len(held)), int), counts]))
        if not np.isnan(told[0]):
            name = "mass without over with an event"
            found.append(Agreement("quiet", line, "", name, float(told[0]), *bounds(told[1:]), int((~loud).sum())))
    return found


def _ratios(
    mass: Float[np.ndarray, " m"], loud: np.ndarray, counts: Float[np.ndarray, "d m"]
) -> Float[np.ndarray, " d"]:
    """The ratio of the two means in each draw; NaN where one kind is missing, or the lower mean is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quiet, event = ((counts @ (mass * kind)) / (counts @ kind) for kind in (~loud, loud))
        return np.where(event > 0, quiet / event, np.nan)
