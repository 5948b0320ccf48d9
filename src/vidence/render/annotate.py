"""The annotated frame: the picture, where the model looked, how sure it was, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.record.timecode import timecode
from vidence.render.heatmap import smoothed
from vidence.render.legend import legend
from vidence.render.lettering import (
    ALARM,
    FAINT,
    INK,
    RAISED,
    blank,
    fitting,
    number,
    shortened,
    text_width,
    write,
)
from vidence.render.renderer import HeatmapWithContours, Renderer
from vidence.render.strip import Strip

Explained = tuple[UInt8[np.ndarray, "h w 3"], float, Float[np.ndarray, "h w"] | None]

_MARGIN, _GAP = 12, 8
_NARROWEST = {"beside": 320, "above": 480, "alone": 480}  # pixels of a panel; the text needs some
_WIDEST, _TALLEST = 800, 640


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What all annotated frames of one source share.

    `name` is the source as shown; `times` (seconds) and `scores` its curve; `peak` the raw map value drawn at
    full intensity, over everything shown (ignored by a renderer of scope 'frame'); `evidence` says in words
    what the map is; `note` is added to the legend. `layout` puts the map beside or above the untouched picture,
    or shows the map alone.
    """

    name: str
    times: Sequence[float]
    scores: Sequence[float]
    peak: float
    threshold: float | None = None
    events: Sequence[Event] = ()
    renderer: Renderer = field(default_factory=HeatmapWithContours)
    signed: bool = False
    measure: str = "anomaly score"
    evidence: str = "evidence"
    note: str = ""
    layout: Literal["beside", "above", "alone"] = "beside"

    def __post_init__(self) -> None:
        if self.layout not in ("beside", "above", "alone"):
            raise ShapeError(f"a page's layout must be 'beside', 'above' or 'alone'; got {self.layout!r}.")


def annotated(page: Page, frames: Iterable[Explained]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Compose one picture per frame, as they come; all of one even size, ready for `write_movie`.

    A frame is pixels, time in seconds, and the map at pixel size or None where the frame was not explained.
    Frames whose size differs from the first are scaled into its panel.
    """
    sheet: _Sheet | None = None
    before: Float[np.ndarray, "1 h w"] | None = None
    for pixels, time, values in frames:
        sheet = sheet or _Sheet(page, (pixels.shape[0], pixels.shape[1]))
        scaled = sheet.scaled(pixels)
        if values is None:
            before = None
            yield sheet.picture(scaled, scaled, time, explained=False)
            continue
        now = sheet.scaled(values.astype(np.float32, copy=False))[None]
        if page.renderer.smooth and before is not None:
            now = smoothed(np.concatenate([before, now]), page.renderer.smooth)[1:]
        before = now
        peak = page.peak if page.renderer.scope == "clip" else None
        drawn = page.renderer(scaled[None], now, peak=peak)[0]
        yield sheet.picture(scaled, drawn, time, explained=True)


def panel_size(size: tuple[int, int], narrowest: int = 320) -> tuple[int, int]:
    """Height and width at which a picture of `size` is shown: small ones enlarged to be readable, large ones
    reduced so that two fit on a screen.
    """
    h, w = size
    scale = min(max(1.0, narrowest / w), _WIDEST / w, _TALLEST / h)
    return max(round(h * scale / 2) * 2, 2), max(round(w * scale / 2) * 2, 2)


class _Sheet:
    """The fixed parts, drawn once, and the places of the moving ones."""

    def __init__(self, page: Page, size: tuple[int, int]) -> None:
        self.page = page
        self.panel = h, w = panel_size(size, _NARROWEST[page.layout])
        across, down = {"beside": (2, 1), "above": (1, 2), "alone": (1, 1)}[page.layout]
        inner = across * w + (across - 1) * _GAP
        self.text = text = min(max(round(inner / 56), 11), 20)
        caption, key = round(1.8 * text), round(2.4 * text)
        self.head = round(2.6 * text) + _MARGIN // 2  # where the state line ends
        rows = [self.head + row * (h + caption) + caption for row in range(down)]
        self.places = [(top, _MARGIN + column * (w + _GAP)) for top in rows for column in range(across)]
        self.below = rows[-1] + h + key
        width, height = inner + 2 * _MARGIN, self.below + 6 * text + 12
        self.strip = Strip(
            width,
            6 * text + 8,
            page.times,
            page.scores,
            threshold=page.threshold,
            events=page.events,
            text=max(text - 2, 10),
        )
        self.ground = blank(height + height % 2, width)
        words = (page.name, page.evidence) if len(self.places) > 1 else (f"{page.evidence} · {page.name}",)
        for (top, left), caption_words in zip(self.places, words, strict=True):
            at = (left, top - caption // 2)
            write(self.ground, at, shortened(caption_words, w, text - 1), size=text - 1, colour=FAINT)
        self.ground[rows[-1] + h : self.below, _MARGIN : _MARGIN + inner] = legend(
            page.renderer, page.peak, width=inner, height=key, text=text - 1, signed=page.signed, note=page.note
        )

    def scaled(self, picture: np.ndarray) -> np.ndarray:
        """A frame or a map at the panel's size."""
        if picture.shape[:2] == self.panel:
            return picture
        smaller = picture.shape[0] > self.panel[0]
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC if picture.ndim == 3 else cv2.INTER_LINEAR
        return cv2.resize(picture, (self.panel[1], self.panel[0]), interpolation=how)

    def picture(
        self, plain: UInt8[np.ndarray, "h w 3"], drawn: UInt8[np.ndarray, "h w 3"], now: float, *, explained: bool
    ) -> UInt8[np.ndarray, "H W 3"]:
        """One annotated frame."""
        picture = self.ground.copy()
        for (top, left), panel in zip(self.places, (plain, drawn)[-len(self.places) :], strict=True):
            picture[top : top + self.panel[0], left : left + self.panel[1]] = panel
        if not explained:
            top, left = self.places[-1]
            at = (left + 8, top + self.panel[0] - self.text)
            write(picture, at, "not explained here", size=self.text - 1, colour=INK)
        self._state(picture, now)
        strip = self.strip.at(now)
        picture[self.below : self.below + strip.shape[0]] = strip
        return picture

    def _state(self, picture: UInt8[np.ndarray, "H W 3"], now: float) -> None:
        """The line on top: what was measured, on which side of the threshold, and the time in the source."""
        page, size = self.page, self.text + 3
        y, right = self.head // 2 + 3, picture.shape[1] - _MARGIN
        time = timecode(now, decimals=2)
        write(picture, (right, y), time, size=size, bold=True, anchor="rm")
        room = right - text_width(time, size, bold=True) - 2 * _MARGIN
        score = shortened(f"{page.measure} {number(self.strip.value(now))}", room - _MARGIN, size, bold=True)
        write(picture, (_MARGIN, y), score, size=size, bold=True)
        if page.threshold is None:
            return
        above = self.strip.above(now)
        side = "above" if above else "below"
        left = 2 * _MARGIN + text_width(score, size, bold=True)
        words = fitting((f"{side} threshold {number(page.threshold)}", side), room - left - self.text, self.text)
        if not words:
            return
        wide = text_width(words, self.text, bold=above) + self.text
        tall = round(0.85 * self.text)
        cv2.rectangle(picture, (left, y - tall), (left + wide, y + tall), ALARM if above else RAISED, -1)
        ink = (24, 18, 6) if above else FAINT
        write(picture, (left + self.text // 2, y), words, size=self.text, colour=ink, bold=above)
