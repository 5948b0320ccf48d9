"""A stretch of a long video as a source of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

from vidence.errors import SpecError
from vidence.frames.clip import Frame
from vidence.frames.source import Source


class Section:
    """The frames `first` to `stop` of a source, counted from 0, `stop` left out; None is the end.

    Times, notes and dropped frames are the whole source's; the digest is of its digest and the section's ends.
    """

    def __init__(self, whole: Source, first: int, stop: int | None) -> None:
        if first < 0 or (stop is not None and stop <= first):
            raise SpecError(f"a section must hold at least one frame; got frames {first} to {stop}.")
        self._whole, self._first, self._stop = whole, first, stop
        self.name, self.fps, self.size, self.notes = whole.name, whole.fps, whole.size, whole.notes
        self.clock = whole.clock

    @property
    def digest(self) -> str:
        """SHA-256 of the text `digest first stop`."""
        return hashlib.sha256(f"{self._whole.digest} {self._first} {self._stop}".encode()).hexdigest()

    @property
    def duration(self) -> float | None:
        """Seconds, as far as the source announces them."""
        if self._whole.duration is None or not self.fps:
            return None
        end = self._whole.duration if self._stop is None else min(self._stop / self.fps, self._whole.duration)
        return max(end - self._first / self.fps, 0.0)

    @property
    def dropped(self) -> int | None:
        """The whole source's, once it is read to its end."""
        return self._whole.dropped

    def __iter__(self) -> Iterator[Frame]:
        """The section's frames in order; those before it are decoded and dropped."""
        frames = iter(self._whole)
        try:
            yield from islice(frames, self._first, self._stop)
        finally:
            if (close := getattr(frames, "close", None)) is not None:
                close()
