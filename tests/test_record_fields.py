"""What docs/records.md says of each field is true of the records that the pipeline writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vidence.explained_source import Reasons, write_down
from vidence.frames.images import ImageFolder
from vidence.frames.source import Source, open_source
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.trivial import MeanFrame
from vidence.record.decision import DecisionRecord
from vidence.record.trust import Trust
from vidence.scoring.run import judge
from vidence.scoring.thresholds import FalseAlarmBudget
from vidence.scoring.timeline import Curve
from vidence.version import commit

DATA = "d" * 64
TABLE = re.compile(r"^\| `(\w+\.\w+)` \| \d+ \| .+ \| (.+) \|$", re.MULTILINE)
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "records.md").read_text()
NULL_WHEN = dict(TABLE.findall(PAGE))
# nothing that the commands do makes these false: a program that writes records may fill them
UNKNOWN_TO_US = (
    "the operator named none",
    "the source carries no wall-clock time (plain video files)",
    "Vidence keeps no copy of the source",
    "this detector measures none",
    "this detector cannot tell",
    "it replaces none",
    "a sheet of several frames",
)


def checked(detector: Any, clip: Any, score: Any, told: dict[str, Any]) -> dict[str, Trust]:
    return {line: Trust(first=clip.ref.first) for line in told}  # its own fields: tests/evaluate/test_trusting.py


def written(detector: Any, source: Source, lines: tuple[str, ...], out: Path) -> list[DecisionRecord]:
    judged = judge(detector, source, threshold=detector.threshold["value"])
    reasons = Reasons(detector, lines, check=checked)
    reasons.add_all(source, judged.windows, certified={window.ref.first for window in judged.windows})
    return write_down(detector, source, judged, reasons, out=out)


@pytest.fixture(scope="module")
def records(
    make_film: Callable[..., Path], detector_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[DecisionRecord]:
    """Of a classifier with all that a training writes down, on a film; and of a reconstruction, on a folder."""
    out = tmp_path_factory.mktemp("written")
    classifier = ClassifierSettings.load(detector_folder)
    footage = Curve(np.arange(9.0), np.linspace(0, 0.5, 9))
    classifier.threshold = FalseAlarmBudget().fit([footage], line="false-alarm-budget").facts(DATA)
    classifier.facts |= {"training_data": DATA, "versions": {"torch": "2.13.0+cpu"}}
    film = open_source(make_film("flash.mp4", ((0.6, 0.9),), frames=12), fps=10)
    lines = ("integrated-gradients(steps=4, limit=4)", "grad-cam", "counterfactual-box(verify=4, shrink=2)")
    made = written(classifier, film, lines, out)
    (out / "frames").mkdir()
    for second in range(8):
        picture = np.full((32, 32, 3), 250 if second == 5 else 120, np.uint8)
        cv2.imwrite(str(out / "frames" / f"{second}.png"), picture)
    detector = MeanFrame(size=32, length=4, rate=1.0, smooth=2).build()
    detector.threshold = {"value": 20.0}
    detector.facts["calibration"] = {"low": 0.0, "high": 1.0, "frames": 9}
    return [*made, *written(detector, ImageFolder(str(out / "frames")), ("residual",), out)]


def held(made: Any) -> Iterator[tuple[str, Any]]:
    """(`Class.field`, value) of everything in a record."""
    for field in fields(made):
        value = getattr(made, field.name)
        yield f"{type(made).__name__}.{field.name}", value
        for each in value if isinstance(value, tuple) else (value,):
            if is_dataclass(each):
                yield from held(each)


def filled(value: Any) -> bool:
    return value is not None and value not in ((), {})


def test_a_field_that_is_never_null_is_filled(records: list[DecisionRecord]) -> None:
    never = {name for name, when in NULL_WHEN.items() if when.startswith("never")}
    null = {name for record in records for name, value in held(record) if name in never and not filled(value)}
    assert null - {"ModelFacts.libraries", "Trust.settings"} == set()  # "in practice": of trained detectors


def test_a_field_that_may_be_null_is_filled_where_its_reason_does_not_hold(records: list[DecisionRecord]) -> None:
    found = {name for record in records for name, value in held(record) if filled(value)}
    asked = {name for name, when in NULL_WHEN.items() if when not in UNKNOWN_TO_US and not name.startswith("Trust.")}
    asked -= {"Occasion.utc_last", "Reading.media_expires"}  # "as" the field before
    assert asked - found == set()


def test_what_the_record_says_of_its_making(records: list[DecisionRecord]) -> None:
    film, folder = records[0], records[-1]
    assert (film.occasion.clock, folder.occasion.clock) == ("container", "frame order")
    assert (film.reading.dropped, folder.reading.dropped) == (0, 0)
    assert (film.model.calibration, folder.model.calibration) == (DATA, None)
    assert film.model.commit == commit()
    assert film.model.libraries == {"torch": "2.13.0"}  # public versions
    references = {each.explainer.split("(")[0]: each.reference for each in film.evidence}
    assert references["integrated-gradients"] == "baseline='median'"
    assert references["counterfactual-box"] == "fill='auto'"
    assert references["grad-cam"] is None


def test_the_commit_is_of_the_checkout_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import vidence.version

    said = commit()
    assert said is not None
    assert re.fullmatch(r"[0-9a-f]{40}\+?", said)
    inside = tmp_path / "site-packages" / "vidence" / "version.py"  # installed within somebody's checkout
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(vidence.version, "__file__", str(inside))
    assert commit.__wrapped__() is None
