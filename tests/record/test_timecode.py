"""One way to write a time."""

from __future__ import annotations

import pytest

from vidence.record.timecode import timecode


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00.0"),
        (9.96, "00:10.0"),
        (59.96, "01:00.0"),
        (3599.99, "1:00:00.0"),
        (3723.4, "1:02:03.4"),
        (-1.5, "-00:01.5"),
    ],
)
def test_tenths(seconds: float, text: str) -> None:
    assert timecode(seconds) == text


def test_hundredths() -> None:
    assert timecode(7.476, decimals=2) == "00:07.48"
