"""A decoder's time stamps as seconds that never decrease, and where a damaged video broke."""

from __future__ import annotations

from fractions import Fraction

from vidence.frames.notes import Notes

RESTART = 1.0  # a clock that falls back by more seconds than this has been set anew


class Clock:
    """Reads the stamps of one pass through a video, and says in `notes` what they give away.

    A negative first stamp becomes 0 and shifts the others along; a frame without a stamp follows the one before after
    `period` seconds; a stamp that falls back a little is held, one that falls back further continues the old clock.
    """

    def __init__(self, *, period: float, notes: Notes) -> None:
        self.period = period
        self.notes = notes
        self.last: float | None = None
        self._shift: float | None = None
        self._longest = period
        self._damage: float | None = None

    def read(self, stamp: Fraction | None) -> float:
        """Seconds of the frame with this stamp (`pts * time_base`)."""
        if stamp is not None and self._shift is None:
            self._shift = max(0.0, -float(stamp))
        time = self._continued() if stamp is None else float(stamp) + (self._shift or 0.0)
        if self.last is not None and time < self.last:
            if self.last - time > RESTART:
                self._shift = (self._shift or 0.0) + self._continued() - time
                self.notes.add(f"the clock falls back at {self.last:.2f} s; later times continue the old one.")
                time = self._continued()
            else:
                time = self.last
        if self._damage is not None and time > self._damage:
            self.notes.add(f"the video is damaged at {self._damage:.2f} s; what does not decode was left out.")
            self._damage = None
        if self.last is not None:
            self._longest = max(self._longest, time - self.last)
        self.last = time
        return time

    def damaged(self, stamp: Fraction | None) -> None:
        """Something at this stamp did not decode; whether the video goes on behind it, the next frames show."""
        if self._damage is None:
            self._damage = self._continued() if stamp is None else max(0.0, float(stamp) + (self._shift or 0.0))

    def finish(self, announced: Fraction | None, reason: str | None = None) -> None:
        """The stream is over: note a `reason`, or frames missing before its `announced` end (container's clock)."""
        end = None if announced is None else float(announced) + (self._shift or 0.0)
        short = end is not None and self.last is not None and end - self.last > 1.5 * self._longest
        if not (short or reason or self._damage is not None):
            return
        announcement = f" of {end:.2f} s announced" if short else ""
        cause = f" ({reason})" if reason else ""
        self.notes.add(
            f"the video breaks off at {self._continued():.2f} s{announcement}{cause}; what decodes was read."
        )

    def _continued(self) -> float:
        return 0.0 if self.last is None else self.last + self.period
