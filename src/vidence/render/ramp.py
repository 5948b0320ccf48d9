"""The colours of evidence: two perceptual, colour-blind-safe ramps, one per sign.

Stored by value (nine stops each, taken from matplotlib 3.11) so that a picture looks the same under any
matplotlib: `inferno` from .44 to .97 for evidence towards the score, `Blues` reversed from 0 to .75 for evidence
against it; side by side they are the diverging ramp of signed maps. Lightness rises along both, so intensity
survives a grey printout, and warm against blue stays apart under the three common colour-vision deficiencies;
inferno's purple start is left out, because a protanope sees it as that blue.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from vidence.errors import ShapeError

STEPS = 256
_TOWARDS = ("a32c61", "bd3853", "d44842", "e75e2e", "f47918", "fb9706", "fbb81d", "f5d949", "f3f68a")
_AGAINST = ("08306b", "084990", "1561a9", "2a7ab9", "4292c6", "61a7d2", "85bcdc", "a9cfe5", "c7dbef")


def _table(stops: tuple[str, ...]) -> UInt8[np.ndarray, "256 3"]:
    points = np.array([list(bytes.fromhex(stop)) for stop in stops], dtype=np.float64)
    at = np.linspace(0, len(stops) - 1, STEPS)
    rows = [np.interp(at, np.arange(len(stops)), points[:, channel]) for channel in range(3)]
    return np.stack(rows, axis=1).round().astype(np.uint8)


TOWARDS = _table(_TOWARDS)
AGAINST = _table(_AGAINST)


def colour(level: float, sign: int) -> tuple[int, int, int]:
    """The RGB colour of one intensity: `level` in [0, 1] as a share of the peak, `sign` +1 or -1."""
    if not 0 <= level <= 1:
        raise ShapeError(f"a level must be a share of the peak in [0, 1]; got {level}.")
    red, green, blue = (TOWARDS if sign > 0 else AGAINST)[round(level * (STEPS - 1))]
    return int(red), int(green), int(blue)
