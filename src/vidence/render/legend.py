"""The key to a picture of evidence: the renderer's own colours and lines over grey, with the raw range."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from vidence.render.lettering import FAINT, GROUND, INK, Colour, blank, fitting, number, shortened, text_width, write
from vidence.render.renderer import Renderer, describe

_GREY = 118
_WIDE = 420  # pixels from which the directions are named
_MARGIN = 8  # of the drawn ramp, cut off again: the lines run across the bar and do not frame it


def legend(
    renderer: Renderer,
    peak: float,
    *,
    width: int,
    height: int,
    text: int = 12,
    signed: bool = False,
    note: str = "",
    ground: Colour = GROUND,
) -> UInt8[np.ndarray, "h w 3"]:
    """A row of `width` x `height` pixels: the bar from no evidence to `peak` (from -`peak` where `signed`), raw values
    at its ends, and how the scale was set. `note` comes first, what does not fit is left out; `text` is the size
    of the letters.
    """
    picture = blank(height, width, ground)
    ink = INK if sum(ground) < 384 else (40, 44, 52)
    middle = height // 2
    if peak <= 0:
        write(
            picture,
            (0, middle),
            shortened(f"no evidence: the map is zero  {note}", width, text),
            size=text,
            colour=FAINT,
        )
        return picture
    low, high = (number(-peak) if signed else "0"), number(peak)
    if signed and width >= _WIDE:
        low, high = f"against {low}", f"{high} towards"
    bar = _bar(renderer, min(max(width // (4 if signed else 5), 90), 240), text + 4, signed=signed)
    x = 0
    if renderer.scope == "clip":
        write(picture, (x, middle), low, size=text, colour=ink)
        x += text_width(low, text) + 8
    top = middle - bar.shape[0] // 2
    picture[top : top + bar.shape[0], x : x + bar.shape[1]] = bar
    x += bar.shape[1] + 8
    if renderer.scope == "clip":
        write(picture, (x, middle), high, size=text, colour=ink)
        x += text_width(high, text) + 16
    levels = getattr(renderer, "levels", ())
    lines = f"lines at {', '.join(f'{100 * level:g}' for level in sorted(levels))} % of the peak" if levels else ""
    parts = [part for part in (note, lines, describe(renderer)) if part]
    wordings = ["; ".join(parts[:kept]) for kept in range(len(parts), 0, -1)]
    write(picture, (x, middle), fitting(wordings, width - x, text), size=text, colour=FAINT)
    return picture


def _bar(renderer: Renderer, width: int, height: int, *, signed: bool) -> UInt8[np.ndarray, "h w 3"]:
    ramp = np.pad(np.linspace(-1 if signed else 0, 1, width, dtype=np.float32), _MARGIN, mode="edge")
    values = np.broadcast_to(ramp, (1, height + 2 * _MARGIN, len(ramp))).copy()
    grey = np.full((*values.shape, 3), _GREY, dtype=np.uint8)
    inner = slice(_MARGIN, -_MARGIN)
    return renderer(grey, values, peak=1.0)[0, inner, inner]
