"""A decoder's time stamps as seconds that never decrease, and where a damaged video broke."""

from __future__ import annotations

from fractions import Fraction

from vidence.frames.notes import Notes

RESTART = 1.0  # a clock that falls back by more seconds than this has been set anew


class Clock:
    """Reads the stamps of one pass through a video, and says in `notes` what they give away.

    A negative first stamp becomes 0 and shifts the others along. A frame without a stamp, or with the very stamp of the
    frame before (a clock that stands still: some writers give every frame a duration of 0), follows that one after
    `period` seconds. A stamp that falls back a little is held, one that falls back further continues the old clock.
    `dropped` frames are none, or None: where something did not decode, nobody can tell how many.
    """

    def __init__(self, *, period: float, notes: Notes) -> None:
        self.period = period
        self.notes = notes
        self.last: float | None = None
        self._stamp: Fraction | None = None
        self._shift: float | None = None
        self._anchor, self._steps = 0.0, 0  # counted from the last stamp: sums of periods would drift
        self._longest = period
        self._counting = False
        self._damage: float | None = None
        self.dropped: int | None = 0

    def read(self, stamp: Fraction | None) -> float:
        """Seconds of the frame with this stamp (`pts * time_base`)."""
        if stamp is None or stamp == self._stamp:
            time = self._counted(stamp)
        else:
            time = self._stamped(stamp)
        if self._damage is not None and time > self._damage:
            self.notes.add(f"the video is damaged at {self._damage:.2f} s; what does not decode was left out.")
            self._damage = None
        if self.last is not None:
            self._longest = max(self._longest, time - self.last)
        self._stamp = self._stamp if stamp is None else stamp
        self.last = time
        return time

    def damaged(self, stamp: Fraction | None) -> None:
        """Something at this stamp did not decode; whether the video goes on behind it, the next frames show."""
        self.dropped = None
        if self._damage is None:
            self._damage = self._next() if stamp is None else max(0.0, float(stamp) + (self._shift or 0.0))

    def finish(self, announced: Fraction | None, reason: str | None = None) -> None:
        """The stream is over: note a `reason`, or frames missing before its `announced` end (container's clock)."""
        end = None if announced is None else float(announced) + (self._shift or 0.0)
        short = end is not None and self.last is not None and end - self.last > 1.5 * self._longest
        if not (short or reason or self._damage is not None):
            return
        self.dropped = None
        announcement = f" of {end:.2f} s announced" if short else ""
        cause = f" ({reason})" if reason else ""
        self.notes.add(f"the video breaks off at {self._next():.2f} s{announcement}{cause}; what decodes was read.")

    def _stamped(self, stamp: Fraction) -> float:
        if self._shift is None:
            self._shift = max(0.0, -float(stamp))
        time = float(stamp) + self._shift
        if self.last is not None and time < self.last:
            if self.last - time > RESTART:
                self.notes.add(f"the clock falls back at {self.last:.2f} s; later times continue the old one.")
                self._shift += self._next() - time
                time = self._next()
            else:
                time = self.last
        self._anchor, self._steps = time, 0
        return time

    def _counted(self, stamp: Fraction | None) -> float:
        time = self._next()
        if self.last is None:
            self._anchor, self._steps = 0.0, 0
        else:
            self._steps += 1
        if not self._counting:
            fault = "the container gives a frame no time" if stamp is None else "the container's clock stands still"
            self.notes.add(
                f"{fault} at {self.last or 0.0:.2f} s; frames there are taken to follow each other "
                f"at {1 / self.period:.5g} a second, a nominal rate and no measured time."
            )
        self._counting = True
        return time

    def _next(self) -> float:
        return 0.0 if self.last is None else self._anchor + (self._steps + 1) * self.period
