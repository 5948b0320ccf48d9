"""A detector without a network in the pipeline: its own evidence in records and pictures, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moving_square import TINY, film
from vidence.datasets.dataset import Sample
from vidence.errors import ExplainError
from vidence.explained_source import Reasons, write_down
from vidence.frames.source import open_source
from vidence.models.motion_attributes import MotionAttributesDetector
from vidence.pipeline import default_line, explain
from vidence.review.wording import checks, hidden_change
from vidence.scoring.run import judge
from vidence.training.motion_fit import fit_motion


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> MotionAttributesDetector:
    folder = tmp_path_factory.mktemp("own")
    clips = [Sample(str(film(folder / f"{k}.mp4", speed=1 + 0.25 * k, seed=k)), "normal", str(k)) for k in range(2)]
    return fit_motion(TINY, clips[:1], clips[1:], out=folder / "detector", progress=False)


def test_an_alarm_is_recorded_with_its_own_evidence(detector: MotionAttributesDetector, tmp_path: Path) -> None:
    source = open_source(str(film(tmp_path / "rush.mp4", speed=1.0, seed=9, fast=4.0)))
    assert default_line(detector) == "evidence"
    judged = judge(detector, source, threshold=2.0)
    reasons = Reasons(detector, (default_line(detector),))
    reasons.add_all(source, judged.anomalous)
    (made,) = write_down(detector, source, judged, reasons, out=tmp_path / "out")
    (told,) = made.evidence
    assert told.explainer == "evidence"
    assert "times the highest ever seen here" in told.sentence
    assert told.hidden_score is None
    assert any("examples" in each.file for each in told.pictures)
    assert all((tmp_path / "out" / name).is_file() for name in made.files)
    box = told.segments[0].box
    assert box is not None
    assert 0.2 < (box[1] + box[3]) / 2 < 0.8


def test_a_record_without_an_alarm_claims_none(detector: MotionAttributesDetector, tmp_path: Path) -> None:
    source = open_source(str(film(tmp_path / "rush.mp4", speed=1.0, seed=9, fast=4.0)))
    judged = judge(detector, source, threshold=1e6)  # the user's own
    reasons = Reasons(detector, (default_line(detector),))
    reasons.add_all(source, judged.windows[-1:])
    (made,) = write_down(detector, source, judged, reasons, out=tmp_path / "out")
    (told,) = made.evidence
    assert told.sentence.startswith("Nothing stood out; furthest from usual was the place at")
    assert told.pictures[0].caption == "what is furthest from usual, coloured and outlined"
    assert "what appears or vanishes moves" in hidden_change(made, told)
    assert not any(check.state == "warn" for check in checks(made, told))


def test_a_networks_explainer_and_another_score_are_refused(detector: MotionAttributesDetector, tmp_path: Path) -> None:
    clip = next(detector.windows.cut(open_source(str(film(tmp_path / "a.mp4", speed=1.0)))))
    with pytest.raises(ExplainError, match="own evidence"):
        Reasons(detector, ("grad-cam",))
    with pytest.raises(ExplainError, match="own score"):
        Reasons(detector, ("evidence",), "logit")
    with pytest.raises(ExplainError, match="'rise'"):
        explain(detector, clip, explainer="rise")
    with pytest.raises(ExplainError, match="has none"):
        explain(detector, torch.zeros(1, 3, 4, 16, 16))
    found = explain(detector, clip)
    assert found.values.shape[1] == len(found.extra["times"])
    assert set(found.extra["times"]) < set(clip.times)  # the frames whose score is final
