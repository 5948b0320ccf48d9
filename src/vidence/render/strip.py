"""The score curve under a movie, with a cursor that moves with the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.ticker import MaxNLocator

from vidence.record.facts import Event
from vidence.render.curve import event_span, require_curve, score_range
from vidence.render.lettering import ALARM, CURVE, FAINT, GROUND, INK, RAISED, RULE, blank, number, text_width, write

_SHIFT = 4  # cv2 draws in sixteenths of a pixel


class Strip:
    """A strip of `width` x `height` pixels; drawn once, after which `at(now)` only moves the cursor.

    `times` in seconds, `values` as many; `threshold` is drawn dashed, `events` shaded. What has been played is
    bright, what is to come is dim.
    """

    def __init__(
        self,
        width: int,
        height: int,
        times: Sequence[float],
        values: Sequence[float],
        *,
        threshold: float | None = None,
        events: Sequence[Event] = (),
        text: int = 12,
    ) -> None:
        self._seconds, self._scores = require_curve(times, values)
        self._low, self._high = score_range(self._scores, threshold)
        self._threshold, self._events, self._text = threshold, events, text
        labels = [number(self._low), number(self._high), number(threshold) if threshold is not None else ""]
        left = max(text_width(label, text) for label in labels) + 12
        self._box = (left, 6, width - 10, height - text - 10)  # x0, y0, x1, y1 of the plot
        self._coming = self._drawn(width, height, dim=True)
        self._played = self._drawn(width, height, dim=False)

    def at(self, now: float) -> UInt8[np.ndarray, "h w 3"]:
        """The strip with the cursor at `now` seconds; outside the curve it stops at the end."""
        x0, y0, x1, y1 = self._box
        x, y = self._point(now, self.value(now))
        x = min(max(x, x0), x1)
        picture = self._coming.copy()
        picture[:, : round(x)] = self._played[:, : round(x)]
        cv2.line(picture, (round(x), y0), (round(x), y1), INK, 1)
        at = (round(x * 2**_SHIFT), round(y * 2**_SHIFT))
        cv2.circle(picture, at, 5 << _SHIFT, GROUND, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(picture, at, 4 << _SHIFT, ALARM if self.above(now) else CURVE, -1, cv2.LINE_AA, _SHIFT)
        return picture

    def value(self, now: float) -> float:
        """The score of the frame shown at `now`: the last one not later."""
        last = int(np.searchsorted(self._seconds, now + 1e-9, side="right")) - 1
        return float(self._scores[max(last, 0)])

    def above(self, now: float) -> bool:
        """Whether the score at `now` exceeds the threshold."""
        return self._threshold is not None and self.value(now) > self._threshold

    def _point(self, time: Any, score: Any) -> tuple[Any, Any]:
        """Pixels of one time and score, or of arrays of them."""
        x0, y0, x1, y1 = self._box
        span = float(self._seconds[-1] - self._seconds[0])
        along = (time - float(self._seconds[0])) / span if span else 0.5 + 0 * time
        return x0 + along * (x1 - x0), y1 - (score - self._low) / (self._high - self._low) * (y1 - y0)

    def _drawn(self, width: int, height: int, *, dim: bool) -> UInt8[np.ndarray, "h w 3"]:
        picture = blank(height, width)
        x0, y0, x1, y1 = self._box
        picture[y0:y1, x0 : x1 + 1] = RAISED
        for event in self._events:
            left, right = (min(max(round(self._point(end, 0)[0]), x0), x1) for end in event_span(event, self._seconds))
            picture[y0:y1, left : max(right, left + 2)] = (74, 58, 32)
        self._axes(picture)
        points = np.stack(self._point(self._seconds, self._scores), axis=1)
        line = np.rint(_envelope(points) * 2**_SHIFT).astype(np.int32)
        cv2.polylines(picture, [line[:, None]], False, (74, 112, 138) if dim else CURVE, 2, cv2.LINE_AA, _SHIFT)
        return picture

    def _axes(self, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        x0, y0, x1, y1 = self._box
        cv2.line(picture, (x0, y1), (x1, y1), RULE, 1)
        marks = {self._low: y1, self._high: y0}
        if self._threshold is not None and np.isfinite(self._threshold):
            level = round(self._point(0, self._threshold)[1])
            marks = {end: y for end, y in marks.items() if abs(y - level) > self._text}
            for x in range(x0, x1, 9):
                cv2.line(picture, (x, level), (min(x + 4, x1), level), FAINT, 1)
            write(picture, (x0 - 6, level), number(self._threshold), size=self._text, anchor="rm")
        for end, y in marks.items():
            inside = min(max(y, y0 + self._text // 2), y1 - self._text // 2)
            write(picture, (x0 - 6, inside), number(end), size=self._text, colour=FAINT, anchor="rm")
        first, last = float(self._seconds[0]), float(self._seconds[-1])
        for tick in MaxNLocator(nbins=max((x1 - x0) // 90, 2), steps=[1, 2, 5, 10]).tick_values(first, last):
            if first <= tick <= last:
                x = round(self._point(float(tick), 0)[0])
                cv2.line(picture, (x, y1), (x, y1 + 3), RULE, 1)
                label = f"{tick:g} s"
                half = text_width(label, self._text) // 2 + 2
                middle = min(max(x, half), picture.shape[1] - half)
                write(picture, (middle, y1 + 5), label, size=self._text, colour=FAINT, anchor="mt")


def _envelope(points: Float[np.ndarray, "t 2"]) -> Float[np.ndarray, "m 2"]:
    """At most four points a pixel column (first, lowest, highest, last): hours draw at once and no peak is lost."""
    columns = np.flatnonzero(np.diff(points[:, 0].round(), prepend=-np.inf))
    kept = []
    for part in np.split(np.arange(len(points)), columns[1:]):
        y = points[part, 1]
        kept += sorted({int(part[0]), int(part[y.argmin()]), int(part[y.argmax()]), int(part[-1])})
    return points[kept]
