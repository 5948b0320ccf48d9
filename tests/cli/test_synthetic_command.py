"""`vidence synthetic`: sets of the walkway, as they are asked for."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Call = Callable[..., Result]


def labels(table: Path) -> list[str]:
    with table.open(newline="") as file:
        return [row["label"] for row in csv.DictReader(file)]


def test_clips_and_scenes_of_the_kinds_asked_for(call: Call, tmp_path: Path) -> None:
    asked = ("--kind", "cart", "--clips", 3, "--normal", 1, "--scenes", 1, "--size", 32, 48)
    done = call("synthetic", *asked, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "3 clips, 1 normal scenes, 1 scenes with events" in done.output
    assert labels(tmp_path / "clips" / "clips.csv") == ["normal", "cart", "normal"]
    assert labels(tmp_path / "normal" / "clips.csv") == ["normal"]
    assert labels(tmp_path / "scenes" / "events.csv") == ["cart"]


def test_what_cannot_be_is_said(call: Call, tmp_path: Path) -> None:
    nothing = call("synthetic", "--out", tmp_path / "none")
    assert nothing.exit_code == 2
    assert "nothing is asked for" in nothing.output
    unknown = call("synthetic", "--clips", 1, "--kind", "theft", "--out", tmp_path / "none")
    assert unknown.exit_code == 1
    assert "one or more of the kinds cyclist, cart, runner" in unknown.output
    assert not (tmp_path / "none").exists()
