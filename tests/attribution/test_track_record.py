"""Warnings come from the measured table alone."""

from __future__ import annotations

import pytest

from vidence.attribution import EXPLAINERS, track_record
from vidence.attribution.track_record import cautions


@pytest.mark.parametrize("key", EXPLAINERS)
def test_what_was_not_measured_is_told_once(key: str) -> None:
    measured = {name for _, name, _ in track_record._figures()}
    told = [said for said in cautions(key) if "was not measured" in said]
    assert len(told) == (key not in measured)
    assert all(key in said and len(cautions(key)) == 1 for said in told)


def test_the_defaults_were_measured() -> None:
    assert {"when-where", "grad-cam", "gradient", "occlusion"} <= {name for _, name, _ in track_record._figures()}


def test_an_interval_that_reaches_a_blind_maps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        ("one frame", "random-map", "mass-ratio"): (0.9, 1.1),
        ("one frame", "centre-map", "mass-ratio"): (1.5, 2.0),
        ("one frame", "sharp", "mass-ratio"): (2.1, 9.0),
        ("one frame", "vague", "mass-ratio"): (1.9, 9.0),
        ("all frames", "random-map", "strongest-frame"): (1.0, 1.0),
        ("all frames", "centre-map", "strongest-frame"): (1.0, 1.0),
        ("all frames", "sharp", "strongest-frame"): (1.0, 1.0),
    }
    monkeypatch.setattr(track_record, "_figures", lambda: figures)
    assert cautions("sharp") == ()
    (said,) = cautions("vague")
    assert "vague said where no better" in said
    assert "one frame" in said
    assert cautions("never") == ("How well never finds synthetic events of known place and time was not measured.",)
