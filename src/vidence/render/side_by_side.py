"""A frame beside what a network expected instead, where the two differ, and where it attended: one row a frame."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from vidence.record.timecode import timecode
from vidence.render.heatmap import overlay
from vidence.render.lettering import FAINT, GROUND, INK, blank, number, shortened, write
from vidence.render.movie import write_movie
from vidence.render.sheet import write_sheet
from vidence.scoring.cases import Case

MOVIE = "beside.mp4"
FULL = 0.3  # of the full range: a difference drawn at full intensity, the same in every picture of every source
SEEN, DIFFERENCE, ATTENTION = "input", f"difference, brightest at {FULL}", "input attention, its own scale"
_NARROWEST, _WIDEST, _MARGIN, _TEXT = 240, 400, 8, 13


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One frame: `time` in seconds, its `score`, and pictures of one size by their captions."""

    time: float
    score: float
    pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]


def pictures(
    seen: UInt8[np.ndarray, "h w 3"],
    expected: Mapping[str, UInt8[np.ndarray, "h w 3"]],
    residual: Float[np.ndarray, "h w"],
    attention: Float[np.ndarray, "h w"] | None = None,
) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """The pictures of one row by their captions. `residual` is in shares of the full range, and drawn on one fixed
    scale; `attention` from its least to its greatest value.
    """
    shown = {SEEN: seen, **expected, DIFFERENCE: _coloured(residual, FULL)}
    if attention is not None:
        above = attention - attention.min()
        shown[ATTENTION] = _coloured(above, float(above.max()))
    return shown


def draw_beside(folder: Path, rows: Iterable[Row], sheets: Mapping[str, Container[float]], *, title: str) -> None:
    """Write `beside.mp4` of all rows into `folder`, and `sheets` by name, each of the rows at its times.

    Rows are taken as they come and let go. Their times must rise, their pictures keep captions and sizes.
    """
    kept: dict[str, list[UInt8[np.ndarray, "h w 3"]]] = {name: [] for name in sheets}
    with closing(_composed(rows, sheets, kept)) as frames:
        composed, times = tee(frames)  # read in step, so that one frame is held
        write_movie(folder / MOVIE, (picture for picture, _ in composed), (time for _, time in times))
    for name, held in kept.items():
        write_sheet(folder / name, held, [""] * len(held), title=title, columns=1)


def beside_of(case: Case) -> str:
    """The file name of a case's sheet."""
    return f"beside-{case.name}.png"


def side_by_side(row: Row) -> UInt8[np.ndarray, "H W 3"]:
    """One row as a picture: time and score on top, then the pictures under their captions."""
    h, w = next(iter(row.pictures.values())).shape[:2]
    scale = min(max(1.0, _NARROWEST / w), _WIDEST / w)
    size = (max(round(w * scale), 2), max(round(h * scale), 2))
    line = round(1.8 * _TEXT)
    across = len(row.pictures) * (size[0] + _MARGIN) + _MARGIN
    sheet = blank(2 * line + size[1] + _MARGIN, across + across % 2)
    score = f"{timecode(row.time, decimals=2)}   anomaly score {number(row.score)}"
    write(sheet, (_MARGIN, line // 2 + 2), score, size=_TEXT, colour=INK, bold=True)
    for place, (caption, picture) in enumerate(row.pictures.items()):
        left = _MARGIN + place * (size[0] + _MARGIN)
        words = shortened(caption, size[0], _TEXT)
        write(sheet, (left, line + line // 2), words, size=_TEXT, colour=FAINT)
        how = cv2.INTER_AREA if size[0] < w else cv2.INTER_LINEAR
        sheet[2 * line : 2 * line + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=how)
    return sheet


def _composed(
    rows: Iterable[Row], sheets: Mapping[str, Container[float]], kept: Mapping[str, list[np.ndarray]]
) -> Generator[tuple[UInt8[np.ndarray, "H W 3"], float]]:
    for row in rows:
        picture = side_by_side(row)
        for name, wanted in sheets.items():
            if row.time in wanted:
                kept[name].append(picture)
        yield picture, row.time


def _coloured(values: Float[np.ndarray, "h w"], peak: float) -> UInt8[np.ndarray, "h w 3"]:
    ground = np.broadcast_to(np.array(GROUND, dtype=np.uint8), (*values.shape, 3)).copy()
    return overlay(ground[None], values[None].astype(np.float32), alpha=1.0, peak=peak)[0]
