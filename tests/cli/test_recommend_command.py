"""``vidence recommend`` writes a line that ``vidence explain`` then uses, or says that none earned it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import vidence
from vidence.evaluate import recommendation
from vidence.models.detector import load_detector, recommended_line
from vidence.pipeline import default_line

Call = Callable[..., Result]
ASKED = ("--clips", 4, "--all", "--explainer", "gradient", "--explainer", "grad-cam")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the criterion that asks the model many times."""
    monkeypatch.setattr(recommendation, "CRITERIA", ("strongest-frame", "mass-ratio"))


@pytest.fixture
def folder(classifier: Any, tmp_path: Path) -> Path:
    classifier.save(tmp_path / "detector")
    return tmp_path / "detector"


def test_nothing_is_written_where_nothing_beats_the_controls(call: Call, folder: Path, marked_set: Any) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = call("recommend", folder, marked_set.path, *ASKED)
    assert done.exit_code == 0, done.output
    assert "Nothing is recommended" in done.stdout
    assert "4 clips recommend nothing: each half needs 6" in done.stderr
    assert {name: (folder / name).read_bytes() for name in before} == before
    again = call("recommend", folder, marked_set.path, *ASKED)
    assert again.stdout == done.stdout


def test_what_is_recommended_is_used(
    call: Call, folder: Path, marked_set: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recommendation.Recommendation, "unbeaten", ())  # as if it had beaten them
    weights = (folder / "model.safetensors").read_bytes()
    done = call("recommend", folder, marked_set.path, *ASKED, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    detector = load_detector(folder)
    held = json.loads((folder / "detector.json").read_text())["facts"]["recommended_explainer"]
    line = recommended_line(detector)
    assert line == held["explainer"]
    assert line in ("gradient", "grad-cam")
    assert f"{line} is recommended" in done.stdout
    assert held["clips"] == {"choosing": 2, "told_by": 2}
    assert (folder / "model.safetensors").read_bytes() == weights
    assert default_line(detector) == default_line(detector, "logit") == line
    assert default_line(detector, "contrast") == "when-where"  # another score: it was not measured for that
    clip = next(detector.windows.cut(marked_set.samples()[0].open()))
    assert (vidence.explain(detector, clip).values == vidence.explain(detector, clip, explainer=line).values).all()
    assert f"explainer  {line}" in call("info", folder).stdout
    detector.facts["recommended_explainer"]["weights"] = "of another training"
    assert default_line(detector) == "when-where"
