"""How fast things are in each row of the picture."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.models.perspective import LEAST, NONE, fitted, pace


def test_a_line_is_found_again_and_is_1_on_average() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.3, 0.9, 5000)
    speeds = (2 + 10 * rows) * rng.uniform(0, 1, 5000)  # in each row all speeds up to the line
    line = fitted(rows, speeds)
    assert line[1] / line[0] == pytest.approx(5, rel=0.15)
    assert pace(line, rows.mean(keepdims=True))[0] == pytest.approx(1)
    assert pace(line, np.array([0.8]))[0] / pace(line, np.array([0.4]))[0] == pytest.approx(10 / 6, rel=0.05)


@pytest.mark.parametrize("case", ["nothing", "one row", "nothing moves"])
def test_without_anything_to_tell_it_from_every_row_is_alike(case: str) -> None:
    rows = {"nothing": np.zeros(0), "one row": np.full(40, 0.5), "nothing moves": np.linspace(0, 1, 40)}[case]
    assert fitted(rows, np.zeros_like(rows) if case == "nothing moves" else np.ones_like(rows)) == pytest.approx(NONE)


def test_a_pace_never_falls_to_nothing() -> None:
    assert pace(np.array([0.0, 2.0]), np.array([0.0, 0.5])) == pytest.approx([LEAST, 1.0])
