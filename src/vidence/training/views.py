"""Augmented views of a source: mirrored, cropped, begun later, played faster. A view is a value and can be cached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidence.errors import SpecError
from vidence.frames.clip import Clip, Frame
from vidence.frames.source import Source


@dataclass(frozen=True)
class View:
    """How a source is looked at; the default changes nothing.

    `crop` is the side of the kept rectangle as a share of the picture's, `row` and `column` (0..1) its place;
    `offset` seconds are skipped at the start; `speed` 1.25 plays faster by a quarter (it acts through the
    windows' `rate`, which must then be set).
    """

    flip: bool = False
    crop: float = 1.0
    row: float = 0.5
    column: float = 0.5
    offset: float = 0.0
    speed: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.crop <= 1 and 0 <= self.row <= 1 and 0 <= self.column <= 1):
            raise SpecError(
                f"a view needs 0 < crop <= 1 and 0 <= row, column <= 1; got {self.crop}, {self.row}, {self.column}."
            )
        if self.speed <= 0 or self.offset < 0:
            raise SpecError(f"a view needs speed > 0 and offset >= 0; got {self.speed} and {self.offset}.")

    def frames(self, source: Source) -> Source:
        """The source with its clock changed."""
        return source if self.offset == 0 and self.speed == 1 else _Played(source, self)

    def clip(self, clip: Clip) -> Clip:
        """The clip with its pixels cropped and mirrored, (t, h, w, 3) -> (t, crop h, crop w, 3)."""
        h, w = clip.pixels.shape[1:3]
        rows, columns = max(round(h * self.crop), 1), max(round(w * self.crop), 1)
        top, left = round((h - rows) * self.row), round((w - columns) * self.column)
        pixels = clip.pixels[:, top : top + rows, left : left + columns]
        return replace(clip, pixels=np.ascontiguousarray(pixels[:, :, ::-1] if self.flip else pixels))


PLAIN = View()


def views(n: int, *, seed: int, timed: bool, offset: float = 0.5) -> tuple[View, ...]:
    """The plain view and `n` random ones: half mirrored, crops of 70 to 100 %, up to `offset` seconds later.

    `timed` says that the windows sample by time, so that speed (0.8 to 1.25) can act.
    """
    random = np.random.default_rng(seed)
    made = [PLAIN]
    for number in range(n):
        crop, row, column, start, speed = random.random(5).round(3).tolist()
        made.append(
            View(
                flip=number % 2 == 0,
                crop=round(0.7 + 0.3 * crop, 3),
                row=row,
                column=column,
                offset=round(start * offset, 3),
                speed=round(0.8 * (1.25 / 0.8) ** speed, 3) if timed else 1.0,
            )
        )
    return tuple(made)


class _Played:
    """A source begun `offset` seconds later and played `speed` times as fast; never emptied: the last frame stays."""

    def __init__(self, source: Source, view: View) -> None:
        self.source, self.view = source, view
        self.name, self.digest, self.fps, self.size = source.name, source.digest, source.fps, source.size
        self.duration, self.clock, self.notes = source.duration, source.clock, source.notes

    @property
    def dropped(self) -> int | None:
        """The source's."""
        return self.source.dropped

    def __iter__(self) -> Iterator[Frame]:
        start: float | None = None
        skipped: Frame | None = None
        for frame in self.source:
            start = frame.time if start is None else start
            if frame.time - start < self.view.offset:
                skipped = frame
                continue
            skipped = None
            yield Frame(frame.pixels, frame.time / self.view.speed)
        if skipped is not None:
            yield Frame(skipped.pixels, skipped.time / self.view.speed)
