"""What people write into a store, checked before it is written: lengths, signs that show something else, times.

Only what is written is checked: what older versions took stays readable.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime

from vidence.errors import StoreError
from vidence.record.decision import Review

REASON, NAME = 4000, 200  # most characters
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # make a line read in another order


def check_review(review: Review) -> None:
    """Raise `StoreError` for a text of a review that is too long or would show as something else, or for `opened_at`
    that is no time.
    """
    check_text("reason", review.reason, most=REASON)
    names = {"reviewer": review.reviewer, "second": review.second, "contest": review.contest}
    names |= {f"seen {number}": each for number, each in enumerate(review.seen, start=1)}
    for name, text in names.items():
        check_text(name, text or "", most=NAME, lines=False)
    try:
        datetime.fromisoformat(review.opened_at or "1970-01-01")
    except ValueError as error:
        raise StoreError(
            f"opened_at must be a time as ISO 8601 writes it, such as 2026-05-01T09:30:00Z; got {review.opened_at!r}."
        ) from error


def check_text(name: str, text: str, *, most: int, lines: bool = True) -> None:
    """Raise `StoreError` for more than `most` characters, or for one that no reader sees; a text may have `lines`."""
    if len(text) > most:
        raise StoreError(f"{name} must have at most {most} characters; got {len(text)}. Say it shorter.")
    allowed = "\n\t" if lines else ""
    hidden = {sign for sign in text if sign in _TURNING or unicodedata.category(sign) in ("Cc", "Cs")}
    if wrong := sorted(f"U+{ord(sign):04X}" for sign in hidden.difference(allowed)):
        raise StoreError(f"{name} must hold visible characters; got {', '.join(wrong)}. Take them out.")
