"""Text in pictures, and the calm colours around them.

The font is DejaVu Sans as matplotlib ships it, set by Pillow (a dependency of matplotlib): OpenCV's own letters are
stick figures without accents. DejaVu has Latin, Greek, Cyrillic and Arabic letters; others appear as boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Colour: TypeAlias = tuple[int, int, int]

GROUND: Colour = (19, 22, 28)
RAISED: Colour = (30, 34, 42)
RULE: Colour = (62, 68, 80)
FAINT: Colour = (148, 156, 170)
INK: Colour = (232, 235, 240)
CURVE: Colour = (112, 188, 232)
ALARM: Colour = (245, 166, 35)


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at `size` pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Pixels the text takes from left to right."""
    return round(font(size, bold=bold).getlength(text))


def write(
    picture: UInt8[np.ndarray, "h w 3"],
    at: tuple[int, int],
    text: str,
    *,
    size: int,
    colour: Colour = INK,
    bold: bool = False,
    anchor: str = "lm",
) -> None:
    """Write into the picture in place. `at` is x, y of Pillow's `anchor` (left, middle by default); what lies
    outside the picture is cut.
    """
    face = font(size, bold=bold)
    left, top, right, bottom = face.getbbox(text, anchor=anchor)
    x0, y0 = max(int(at[0] + left) - 1, 0), max(int(at[1] + top) - 1, 0)
    region = picture[y0 : max(int(at[1] + bottom) + 2, 0), x0 : max(int(at[0] + right) + 2, 0)]
    if not region.size:
        return
    patch = Image.fromarray(region)
    ImageDraw.Draw(patch).text((at[0] - x0, at[1] - y0), text, font=face, fill=colour, anchor=anchor)
    region[:] = np.asarray(patch)


def shortened(text: str, width: int, size: int, *, bold: bool = False) -> str:
    """The text, with its middle left out where it is wider than `width` pixels: the end of a name tells most."""
    if text_width(text, size, bold=bold) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept // 2]}…{text[len(text) - (kept + 1) // 2 :]}"
        if text_width(short, size, bold=bold) <= width:
            return short
    return "…"


def fitting(wordings: Sequence[str], width: int, size: int) -> str:
    """The first wording that is at most `width` pixels wide in bold; nothing where none is."""
    return next((words for words in wordings if text_width(words, size, bold=True) <= width), "")


def number(value: float) -> str:
    """A raw value in three significant digits, without a row of noughts."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def blank(height: int, width: int, colour: Colour = GROUND) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, dtype=np.uint8)
