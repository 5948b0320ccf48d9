"""A contact sheet: the frames of an event on one page, to be read at a glance and printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from vidence.aside import written_aside
from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.render.lettering import blank, shortened, write

_PAPER, _INK, _GREY = (255, 255, 255), (32, 36, 44), (104, 110, 120)
_CELL, _LARGEST, _ROOM = 320, (480, 640), 1450  # least width and greatest size of a cell, and a row's width
_MARGIN, _GAP = 20, 14
_TEXT = 15
JPEG_QUALITY = 88  # of sheets that a report embeds: a tenth of the PNG's size, and lines stay clean


def pick_frames(
    times: Sequence[float],
    weights: Sequence[float],
    *,
    count: int = 8,
    event: Event | None = None,
) -> list[int]:
    """Choose frames that tell an event: spread over it, its strongest frame, and one before and after.

    They lie as close as half the time and half the `weights` (a score or the map's mass per frame) ask for: in even
    steps where all frames weigh the same, closer where most is to be seen. An event of few frames is shown whole among
    its neighbours; without an event all frames are spread over. Returns rising indices, at most `count`; fewer where
    there are fewer frames.
    """
    seconds, strength = np.asarray(times, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if seconds.ndim != 1 or seconds.shape != strength.shape or not len(seconds) or count < 1:
        raise ShapeError(
            f"picking frames needs as many weights as times and a count of at least 1; got {strength.shape}, "
            f"{seconds.shape}, count {count}."
        )
    inside = np.arange(len(seconds))
    if event is not None:
        held = np.flatnonzero((seconds >= event.first_s) & (seconds <= event.last_s))
        inside = held if len(held) else inside
    if len(inside) < (count - 2 if count >= 4 else count):
        away = np.maximum(np.maximum(seconds[inside[0]] - seconds, seconds - seconds[inside[-1]]), 0)
        return sorted(int(at) for at in np.argsort(away, kind="stable")[:count])
    strongest = int(inside[strength[inside].argmax()])
    around = _around(seconds, inside, count) if count >= 4 else set()
    spread = max(count - len(around), 1)
    chosen = {int(inside[at]) for at in _nearest(_pace(seconds[inside], strength[inside]), spread)}
    if strongest not in chosen:
        chosen.remove(min(chosen, key=lambda at: abs(seconds[at] - seconds[strongest])))
        chosen.add(strongest)
    return sorted(chosen | around)


def _around(seconds: Float[np.ndarray, " t"], inside: np.ndarray, count: int) -> set[int]:
    """One frame before and one after those `inside`, as far away as the chosen ones lie from each other."""
    apart = (seconds[inside[-1]] - seconds[inside[0]]) / (count - 1)
    before, after = np.arange(inside[0]), np.arange(inside[-1] + 1, len(seconds))
    moments = (seconds[inside[0]] - apart, seconds[inside[-1]] + apart)
    return {
        int(outside[np.abs(seconds[outside] - moment).argmin()])
        for outside, moment in zip((before, after), moments, strict=True)
        if len(outside)
    }


def _pace(seconds: Float[np.ndarray, " t"], strength: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """The share of the time passed and of the weight seen, together; rises as `seconds` do."""
    steps = np.diff(seconds, prepend=seconds[:1])
    passed, seen = (part.cumsum() for part in (steps, steps * np.clip(strength, 0, None)))
    return passed / max(passed[-1], 1e-12) + seen / max(seen[-1], 1e-12)


def _nearest(pace: Float[np.ndarray, " t"], count: int) -> list[int]:
    """Different frames nearest to `count` even steps of the pace; all of them where there are not more."""
    if len(pace) <= count:
        return list(range(len(pace)))
    if pace[-1] <= pace[0] or count == 1:
        return [int(at) for at in np.linspace(0, len(pace) - 1, count).round()]
    wanted = np.linspace(pace[0], pace[-1], count)
    return sorted({int(np.abs(pace - step).argmin()) for step in wanted})


def write_sheet(
    path: str | Path,
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    captions: Sequence[str],
    *,
    title: str = "",
    text: str = "",
    legend: UInt8[np.ndarray, "h w 3"] | None = None,
    columns: int | None = None,
) -> None:
    """Write the pictures as a grid on white paper, each above its caption; PNG or JPEG, as the suffix says.

    Small pictures are enlarged to 320 pixels; `columns` follows from the size unless given. `title` and `text`
    head the page, `legend` (a picture on white) ends it.
    """
    if not len(pictures) or len(pictures) != len(captions):
        raise ShapeError(
            f"a sheet needs at least one picture and a caption for each; got {len(pictures)} and {len(captions)}."
        )
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise ShapeError(f"a sheet's picture must be uint8 RGB (h, w, 3); got {picture.dtype} {picture.shape}.")
    parts = [_grid(pictures, captions, columns)]
    width = parts[0].shape[1]
    if title or text:
        parts.insert(0, _heading(title, text, width))
    if legend is not None:
        row = blank(legend.shape[0] + _GAP, width, _PAPER)
        shown = legend[:, : width - 2 * _MARGIN]
        row[: shown.shape[0], _MARGIN : _MARGIN + shown.shape[1]] = shown
        parts.append(row)
    with written_aside(path) as aside:
        Image.fromarray(np.concatenate(parts)).save(aside, quality=JPEG_QUALITY)


def _heading(title: str, text: str, width: int) -> UInt8[np.ndarray, "h w 3"]:
    head = blank(_MARGIN + 2 * _TEXT * (bool(title) + bool(text)), width, _PAPER)
    room = width - 2 * _MARGIN
    lines = [(title, _TEXT + 5, _INK, True), (text, _TEXT, _GREY, False)]
    for row, (words, size, ink, bold) in enumerate(line for line in lines if line[0]):
        at = (_MARGIN, _MARGIN + _TEXT // 2 + 2 * _TEXT * row)
        write(head, at, shortened(words, room, size, bold=bold), size=size, colour=ink, bold=bold)
    return head


def _grid(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str], columns: int | None
) -> UInt8[np.ndarray, "h w 3"]:
    """The cells have the first picture's shape; one of another shape is centred in its cell."""
    largest = (_LARGEST[0], _ROOM) if columns == 1 else _LARGEST
    h, w = _fitted(pictures[0].shape, largest, enlarge=_CELL / pictures[0].shape[1])
    rows = -(-len(pictures) // (columns or max(_ROOM // (w + _GAP), 1)))
    across = columns or -(-len(pictures) // rows)  # rows of like length rather than one short row at the end
    row = h + 2 * _TEXT + _GAP // 2
    page = blank(-(-len(pictures) // across) * row + _GAP, 2 * _MARGIN + across * (w + _GAP) - _GAP, _PAPER)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        top, left = _GAP + (index // across) * row, _MARGIN + (index % across) * (w + _GAP)
        high, wide = _fitted(picture.shape, (h, w), enlarge=max(h, w))
        y, x = top + (h - high) // 2, left + (w - wide) // 2
        how = cv2.INTER_AREA if high < picture.shape[0] else cv2.INTER_CUBIC
        page[y : y + high, x : x + wide] = cv2.resize(picture, (wide, high), interpolation=how)
        write(page, (left, top + h + _TEXT + 2), shortened(caption, w, _TEXT), size=_TEXT, colour=_INK)
    return page


def _fitted(shape: tuple[int, ...], box: tuple[int, int], *, enlarge: float) -> tuple[int, int]:
    """Height and width inside `box`, the proportions kept, at most `enlarge` times as large (never forced smaller)."""
    scale = min(max(1.0, enlarge), box[0] / shape[0], box[1] / shape[1])
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)
