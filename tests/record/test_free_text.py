"""What a person may write into a store, and what is refused before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidence.errors import StoreError
from vidence.record.decision import DecisionRecord, Review
from vidence.record.free_text import NAME, REASON, check_review
from vidence.record.store import Store

GOOD: dict[str, Any] = {"record": "a" * 64, "reviewer": "r7", "verdict": "confirm", "reason": "seen"}


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "x" * REASON, "reviewer": "y" * NAME},
        {"reason": "first a bicycle,\n\tthen nobody: \u05e9\u05dc\u05d5\u05dd, Gr\u00fc\u00dfe"},
        {"reason": "a rescuer \U0001f469\u200d\U0001f692"},
        {"opened_at": "2026-05-01T09:30:00Z"},
        {"opened_at": "2026-05-01T11:30:00.250+02:00"},
    ],
)
def test_what_people_write_is_taken(change: dict[str, Any]) -> None:
    check_review(Review(**(GOOD | change)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reason": "x" * (REASON + 1)}, f"reason must have at most {REASON} characters; got {REASON + 1}"),
        ({"reviewer": "x" * (NAME + 1)}, "reviewer must have at most"),
        ({"second": "x" * (NAME + 1)}, "second must have at most"),
        ({"contest": "x" * (NAME + 1)}, "contest must have at most"),
        ({"seen": ("movie", "x" * (NAME + 1))}, "seen 2 must have at most"),
        ({"reason": "a\x00b"}, r"U\+0000"),
        ({"reason": "\x1b[2Jgone"}, r"U\+001B"),
        ({"reason": "not \u202ederever"}, r"U\+202E"),
        ({"reviewer": "anna\nconfirmed by: ben"}, r"reviewer must hold visible characters; got U\+000A"),
        ({"opened_at": "yesterday"}, "opened_at must be a time"),
    ],
)
def test_what_nobody_could_read_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        check_review(Review(**(GOOD | change)))


def test_the_store_takes_none_of_it(decision: Callable[..., DecisionRecord], tmp_path: Path) -> None:
    store = Store.open(tmp_path / "records.db", create=True)
    made = store.append(decision())
    with pytest.raises(StoreError, match="at most"):
        store.review(Review(**(GOOD | {"record": made, "reason": "x" * 5000})))
    with pytest.raises(StoreError, match="at most"):
        store.erase(made, "x" * 5000)
    assert store.head()[0] == 1
