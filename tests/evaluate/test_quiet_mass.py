"""Mass where nothing happens, against numbers written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.evaluate.quiet_mass import quiet_mass

ONES = np.ones((2, 3, 3), np.float32)


def test_it_is_the_ratio_of_the_means() -> None:
    clips = [
        {"a": 4 * ONES, "flat": ONES},
        {"a": 2 * ONES, "flat": ONES},
        {"a": ONES.copy(), "flat": ONES},
        {"flat": ONES},
    ]
    clips[2]["a"][0] = -7  # what speaks against the score marks nothing: .5 a cell is left
    found = {each.first: each for each in quiet_mass(clips, [True, True, False, False], "abcd")}
    assert found["a"].mean == pytest.approx(0.5 / 3)
    assert (found["a"].n, found["flat"].n) == (1, 2)
    assert (found["flat"].mean, found["flat"].low, found["flat"].high) == (1, 1, 1)


def test_the_interval_draws_sources() -> None:
    rng = np.random.default_rng(0)
    heights = rng.uniform(0.5, 1.5, 24)
    clips = [{"a": height * (ONES if i % 2 else ONES / 4)} for i, height in enumerate(heights)]
    events = [bool(i % 2) for i in range(24)]
    (found,) = quiet_mass(clips, events, range(24))
    assert found.mean == pytest.approx(heights[::2].mean() / 4 / heights[1::2].mean())
    assert found.low < 0.25 < found.high
    (one,) = quiet_mass(clips, events, [i // 12 for i in range(24)])
    assert (one.mean, one.n) == (found.mean, 12)
    assert one.low != found.low


def test_without_both_kinds_or_any_mass_nothing_is_said() -> None:
    assert quiet_mass([{"a": ONES}] * 3, [True] * 3, "abc") == []
    assert quiet_mass([{"a": ONES}] * 3, [False] * 3, "abc") == []
    assert quiet_mass([{"a": -ONES}] * 2, [True, False], "ab") == []
    assert quiet_mass([{"a": ONES}, {}], [True, False], "ab") == []
