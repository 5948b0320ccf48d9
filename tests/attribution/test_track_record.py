"""Warnings come from the measured table alone."""

from __future__ import annotations

import pytest

from vidence.attribution import ON_ANY_SCORE, track_record
from vidence.attribution.track_record import cautions


def test_every_explainer_was_measured() -> None:
    measured = {name for _, name, _ in track_record._figures()}
    assert set(ON_ANY_SCORE) <= measured


def test_an_interval_that_reaches_a_blind_maps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        ("one frame", "random", "mass-ratio"): (0.9, 1.1),
        ("one frame", "centre", "mass-ratio"): (1.5, 2.0),
        ("one frame", "sharp", "mass-ratio"): (2.1, 9.0),
        ("one frame", "vague", "mass-ratio"): (1.9, 9.0),
        ("all frames", "random", "strongest-frame"): (1.0, 1.0),
        ("all frames", "centre", "strongest-frame"): (1.0, 1.0),
        ("all frames", "sharp", "strongest-frame"): (1.0, 1.0),
    }
    monkeypatch.setattr(track_record, "_figures", lambda: figures)
    assert cautions("sharp") == ()
    (said,) = cautions("vague")
    assert "vague said where no better" in said
    assert "one frame" in said
    assert cautions("never measured") == ()
