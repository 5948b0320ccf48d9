"""Times as people read them, the same in reports, pictures, movies and sentences."""

from __future__ import annotations


def timecode(seconds: float, *, decimals: int = 1) -> str:
    """``mm:ss.s``, with hours in front where there are any; rounded once, so that 59.96 becomes 01:00.0."""
    scale = 10**decimals
    ticks = round(seconds * scale)
    sign, ticks = "-" if ticks < 0 else "", abs(ticks)
    minutes, rest = divmod(ticks, 60 * scale)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{f'{hours}:' if hours else ''}{minutes:02d}:{rest / scale:0{decimals + 3}.{decimals}f}"
