"""Settings of a wrong kind are refused in words wherever they are given, before a class looks at their values."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from vidence.attribution import COMBINE, EXPLAINERS
from vidence.errors import SpecError
from vidence.evaluate import MEASURES
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models import DETECTORS, Bcae1, Ensemble, Hybrid, MotionAttributes, Random
from vidence.scoring.thresholds import THRESHOLDS
from vidence.spec import build, line

TABLES: tuple[dict[str, Any], ...] = (DETECTORS, EXPLAINERS, COMBINE, MEASURES, THRESHOLDS)
KINDS = sorted({Fit, Windows, *(made for table in TABLES for made in table.values())}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_no_setting_takes_just_anything(kind: type[Any]) -> None:
    for setting in fields(kind):
        if setting.init:
            with pytest.raises(SpecError, match=rf"^{setting.name.rstrip('_')} must be .*; got object"):
                kind(**{setting.name: object()})


@pytest.mark.parametrize(
    ("kind", "name", "value", "said"),
    [
        (Bcae1, "rate", "a", "rate must be a number; got 'a'"),
        (Bcae1, "crop", "abcd", "crop must be a sequence, each a whole number or None; got 'abcd'"),
        (MotionAttributes, "perspective", 3, "perspective must be True or False; got 3"),
        (Ensemble, "of", (Random(), 3), "of must be a sequence, each a detector that reconstructs or predicts; got"),
        (Hybrid, "learned", MotionAttributes(), "learned must be a detector that reconstructs or predicts; got Motion"),
        (Hybrid, "motion", Random(), "motion must be motion-attributes; got Random"),
    ],
)
def test_what_a_setting_must_be_is_said(kind: type[Any], name: str, value: Any, said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        kind(**{name: value})


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    settings = Random(size=np.int64(32), svdd_weight=np.float64(0.5))  # type: ignore[arg-type]
    written = line(settings, DETECTORS)
    assert written == "random(size=32, svdd_weight=0.5)"
    assert build(written, DETECTORS) == settings
