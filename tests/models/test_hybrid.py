"""`hybrid`: what two members say together, whose evidence is told, and that it is one detector in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from moving_square import TINY, film
from vidence.cli.main import main
from vidence.datasets.dataset import Sample
from vidence.datasets.section import Section
from vidence.errors import DataError, SpecError
from vidence.evaluate.cost import Meter
from vidence.frames.source import open_source
from vidence.models import DETECTORS, Detector, Hybrid, load_detector
from vidence.models.autoencoder import Bcae1
from vidence.models.hybrid import HybridDetector
from vidence.models.trivial import PreviousFrame
from vidence.scoring.cases import cases
from vidence.scoring.decisions import record
from vidence.scoring.run import judge, scored
from vidence.spec import build, line
from vidence.training.hybrid_fit import fit_hybrid

SETTINGS = Hybrid(learned=PreviousFrame(size=32, length=8), motion=TINY)


@pytest.fixture(scope="module")
def rush(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("rush") / "rush.mp4", speed=1.0, seed=9, fast=4.0)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> HybridDetector:
    folder = tmp_path_factory.mktemp("hybrid")
    clips = [Sample(str(film(folder / f"{k}.mp4", speed=1 + 0.25 * k, seed=k)), "normal", str(k)) for k in range(2)]
    return fit_hybrid(SETTINGS, clips[:1], clips[1:], out=folder / "detector", progress=False)


def curve(detector: Any, source: Path) -> Any:
    return judge(detector, open_source(str(source)), threshold=0).curve


@pytest.mark.parametrize("rule", ["mean", "max"])
def test_the_score_is_the_rule_of_the_members_live_scores(detector: HybridDetector, rush: Path, rule: Any) -> None:
    pair = HybridDetector(Hybrid(learned=SETTINGS.learned, motion=TINY, rule=rule), detector.motion, detector.learned)
    said = curve(pair, rush)
    moved, looked = curve(detector.motion, rush), curve(detector.learned, rush)
    assert said.times.tolist() == moved.times.tolist()
    assert said.values[0] == pytest.approx(moved.values[0])  # nothing is predicted of the first frame
    combine = np.mean if rule == "mean" else np.max
    wanted = combine([moved.values[1:], looked.values[-len(moved.values) + 1 :]], axis=0)
    np.testing.assert_allclose(said.values[1:], wanted, rtol=1e-3, atol=1e-3)


def test_an_image_is_refused_not_called_normal(detector: HybridDetector, tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), np.full((96, 192, 3), 90, np.uint8))
    with pytest.raises(DataError, match="at least two frames"):
        curve(detector, still)


def test_the_higher_members_evidence_is_told(detector: HybridDetector, rush: Path) -> None:
    assert isinstance(detector, Detector)
    clip = next(clip for clip, window in scored(detector, open_source(str(rush))) if window.times[0] > 2.5)
    told = detector.evidence(clip)
    assert "motion-attributes has" in told.extra["sentence"]
    assert told.extra["sentences"].quiet.startswith("Nothing stood out")
    assert told.certificate.flags == ()  # they are cautions
    assert "previous-frame" in told.extra["sentence"]
    held = detector.motion.facts["calibration"]
    detector.motion.facts["calibration"] = {**held, "low": 1e6, "high": 2e6}
    try:
        other = detector.evidence(clip)
    finally:
        detector.motion.facts["calibration"] = held
    assert "looks least like what previous-frame expected" in other.extra["sentence"]
    assert other.values.shape[-2:] == (32, 32)
    row, _ = np.unravel_index(int(other.values[0].amax(dim=0).argmax()), (32, 32))
    assert 30 / 96 - 0.1 < (row + 0.5) / 32 < 70 / 96 + 0.1


def test_members_know_what_the_parts_were_split_with(rush: Path, tmp_path: Path) -> None:
    clips = [Sample(str(rush), "normal", "rush")]
    found = fit_hybrid(SETTINGS, clips, clips, out=tmp_path, seed=3, split_seed=0, progress=False)
    assert [each.facts["split_seed"] for each in (found, found.motion, found.learned)] == [0, 0, 0]
    assert found.facts["seed"] == 3


def test_its_cost_and_its_record_are_those_of_its_weights(rush: Path) -> None:
    """A hybrid has no network of its own, but its learned member has one."""
    made = Hybrid(learned=Bcae1(length=2, precision="bf16"), motion=TINY).build()
    meter = Meter()
    meter.window = next(made.windows.cut(open_source(str(rush))))
    alone = Meter()
    alone.window, alone.fresh = next(made.learned.windows.cut(open_source(str(rush)))), 2
    found, wanted = meter.facts(made), alone.facts(made.learned)
    assert found["parameters"] == wanted["parameters"] > 0
    assert found["flops_per_frame"] == wanted["flops_per_frame"] > 0
    source = Section(open_source(str(rush)), 0, 2)
    judged = judge(made, source, threshold=1e9)
    model = record(made, source, judged, *cases(judged)).model
    assert (model.device, model.precision) == ("cpu", "bf16")
    made.learned.network.to("meta")
    assert record(made, source, judged, *cases(judged)).model.device == "meta"


def test_saved_and_loaded_it_scores_the_same(detector: HybridDetector, rush: Path, tmp_path: Path) -> None:
    detector.save(tmp_path)
    again = load_detector(tmp_path)
    np.testing.assert_array_equal(curve(again, rush).values, curve(detector, rush).values)
    assert (again.spec, again.weights_digest) == (detector.spec, detector.weights_digest)
    assert build(line(SETTINGS, DETECTORS), DETECTORS) == SETTINGS


def test_it_is_trained_explained_and_not_adapted_by_command(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    rows = [f"films/{film(tmp_path / 'films' / f'{k}.mp4', speed=1 + 0.1 * k, seed=k).name},normal" for k in range(4)]
    rush = film(tmp_path / "films" / "rush.mp4", speed=1.0, seed=9, fast=4.0)
    rows.append("films/rush.mp4,rush")
    (tmp_path / "films.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    spec = "hybrid(learned=previous-frame(size=32), motion=motion-attributes(coreset=300, neighbours=2))"
    steps = [
        ["train", tmp_path / "films.csv", "--detector", spec, "--out", tmp_path / "detector"],
        ["explain", rush, "--detector", tmp_path / "detector", "--out", tmp_path / "why"],
    ]
    for words in steps:
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code == 0, done.output
    assert "motion-attributes has" in (tmp_path / "why" / "report.html").read_text()
    done = CliRunner().invoke(main, ["adapt", str(tmp_path / "detector"), "--normal", str(tmp_path / "films")])
    assert done.exit_code == 2
    assert "Train it again with the new footage among the clips." in done.output


@pytest.mark.parametrize(
    "wrong",
    [
        {"learned": PreviousFrame(length=99)},
        {"learned": PreviousFrame(rate=5.0)},
        {"learned": PreviousFrame(crop=(0, 0, 9, 9))},
        {"learned": PreviousFrame(), "rule": "min"},
    ],
)
def test_members_that_do_not_fit_together_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="hybrid"):
        Hybrid(**wrong)
