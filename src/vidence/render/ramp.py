"""The colours of evidence: two perceptual, colour-blind-safe ramps, one per sign.

Stored by value (nine stops each, taken from matplotlib 3.11) so that a picture looks the same under any
matplotlib: `inferno` from .32 to .96 for evidence towards the score, `Blues` reversed from 0 to .8 for evidence
against it. Lightness rises along both, so intensity survives a grey printout; warm against blue stays apart under
the three common colour-vision deficiencies. Side by side, the two make the diverging ramp of signed maps.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from vidence.errors import ShapeError

STEPS = 256
_TOWARDS = ("721a6e", "932667", "b3325a", "d04545", "e75e2e", "f68013", "fca50a", "f8cd37", "f2f27d")
_AGAINST = ("08306b", "084a91", "1764ab", "2e7ebc", "4a98c9", "6caed6", "94c4df", "b7d4ea", "d0e1f2")


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
