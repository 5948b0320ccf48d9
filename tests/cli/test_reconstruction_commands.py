"""score, explain, report, replay and info on detectors that learn what is normal, as a user calls them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import Result

from vidence.frames.source import open_source
from vidence.models import DETECTORS
from vidence.models.asymmetric import AsymmetricBlock
from vidence.models.detector import load_detector
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.models.trivial import MeanFrame, MeanFrameNetwork, PreviousFrame
from vidence.pipeline import default_line, default_score, explain
from vidence.record.provenance import file_digest
from vidence.record.store import Store
from vidence.scoring.scores import SCORES, SquaredError
from vidence.spec import build

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, quiet_film: Path) -> Path:
    """A mean frame, learnt from the film in which nothing happens; flashes in other films are far above 1."""
    made = MeanFrame(size=32, length=6, channels=1, smooth=3).build()
    clips = list(made.windows.cut(open_source(quiet_film)))
    assert isinstance(made.network, MeanFrameNetwork)
    made.network.learn(made.prepare(clip) for clip in clips)
    return saved(made, clips, tmp_path_factory.mktemp("mean") / "detector")


def saved(made: ReconstructionDetector, clips: list, folder: Path) -> Path:  # type: ignore[type-arg]
    errors = np.concatenate([made.errors(clip).values for clip in clips])
    made.facts = {"calibration": {"low": float(np.median(errors)), "high": float(errors.max())}, "seed": 0}
    made.threshold = {"value": 3.0, "rule": "quantile", "origin": "normal footage", "warnings": []}
    made.remember(None)
    made.save(folder)
    return folder


@pytest.fixture(scope="module")
def why(call: Call, folder: Path, film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "why"
    done = call(
        "explain", film, "--detector", folder, "--explainer", "residual", "--explainer", "gradient", "--out", out
    )
    assert done.exit_code == 0, done.output
    assert "2 alarms" in done.output
    return out


def test_scores_have_no_classes_and_records_say_how_they_came_about(
    call: Call, folder: Path, film: Path, quiet_film: Path, tmp_path: Path
) -> None:
    done = call("score", film, quiet_film, "--detector", folder, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["source", "first_s", "last_s", "score", "threshold", "anomalous"]
    assert len(rows) == 10 + 4  # windows of 6 frames, none twice, the last as short as it comes
    assert {row["anomalous"] for row in rows if row["source"] == str(quiet_film)} == {"0"}
    flashing = [row for row in rows if row["anomalous"] == "1"]
    assert flashing
    entries = list(Store.open(tmp_path / "records.db").records())
    assert len(entries) == 3
    detector = load_detector(folder)
    for entry in entries:
        record = entry.readable()
        assert record.detection.score == "squared-error"
        assert record.outcome.normalisation == detector.facts["calibration"]
        assert record.outcome.smoothing == "mean of 3 frames, causal"
        assert record.outcome.bounds is None
        assert record.outcome.probabilities == {}
        assert record.model.precision == "float32"
        assert record.reading.fit == "stretch 32"
    first = entries[0].readable()
    assert [each.explainer for each in first.evidence] == ["residual"]
    assert entries[2].readable().evidence == ()


def test_the_map_marks_the_flash_and_hiding_it_ends_the_alarm(why: Path) -> None:
    for entry in Store.open(why / "records.db").records():
        record = entry.readable()
        told, other = record.evidence
        assert (told.score, told.mode, other.mode) == ("squared-error", "live", "live")
        assert told.certificate.gap == pytest.approx(0, abs=1e-5)
        assert told.sentence.startswith("The picture differs most from what was expected")
        left, top, right, bottom = told.segments[0].box or (0, 0, 1, 1)
        assert (left, top, right, bottom) == pytest.approx((20 / 48, 4 / 32, 44 / 48, 28 / 32), abs=0.05)
        hidden = told.hidden_score
        assert hidden is not None
        assert hidden.fill == "what the network reconstructed"
        assert hidden.value < 0.3 * record.detection.value
        assert hidden.control is not None
        assert hidden.control > 0.5 * record.detection.value


def test_frames_are_shown_beside_what_was_expected(why: Path) -> None:
    records = [entry.readable() for entry in Store.open(why / "records.db").records()]
    explained = np.load(why / (records[0].evidence[0].map or ""))["times"]
    for number, record in enumerate(records, 1):
        assert all(file_digest(why / name) == held for name, held in record.files.items())
        first, second = record.evidence
        sheet = first.pictures[-1].file
        assert sheet.endswith(f"/beside-event-{number}.png")
        assert cv2.imread(str(why / sheet)) is not None
        (movie,) = (name for name in record.files if name.endswith("/beside.mp4"))
        with av.open(str(why / movie)) as held:
            assert sum(1 for _ in held.decode(video=0)) == len(explained)
        assert all("beside" not in picture.file for picture in second.pictures)
    report = (why / "report.html").read_text()
    assert "beside what the network expected" in report
    assert "Where the picture differs from what was expected" in report


def test_report_and_replay_take_the_store(call: Call, why: Path, tmp_path: Path) -> None:
    done = call("report", why / "records.db", "--out", tmp_path / "again.html")
    assert done.exit_code == 0, done.output
    for entry in Store.open(why / "records.db").records():
        done = call("replay", why / "records.db", entry.id[:12])
        assert done.exit_code == 0, done.output
        assert done.output.count("agrees") == 3


def test_replay_takes_the_recorded_precision(
    call: Call, folder: Path, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    errors = ReconstructionDetector.errors

    def seen(self: ReconstructionDetector, clip: object) -> object:
        asked.append(self.precision)
        return errors(self, clip)  # type: ignore[arg-type]

    monkeypatch.setattr(ReconstructionDetector, "errors", seen)
    detector = ReconstructionDetector(
        MeanFrame(size=32, length=6, precision="bf16"), MeanFrame(size=32).network(), threshold={"value": 1e9}
    )
    detector.threshold = {"value": 1e9, "rule": "fixed", "origin": "by hand", "warnings": []}
    detector.save(tmp_path / "detector")
    call("score", film, "--detector", tmp_path / "detector", "--out", tmp_path / "out")
    (entry,) = Store.open(tmp_path / "out" / "records.db").records()
    assert entry.readable().model.precision == "bf16"
    asked.clear()
    done = call("replay", tmp_path / "out" / "records.db", entry.id[:12])
    assert done.exit_code == 0, done.output
    assert set(asked) == {"bf16"}


def test_asymmetric_blocks_are_fused_for_use(
    call: Call, make_film: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, source = tmp_path / "detector", make_film("short.mp4", (), frames=2, seed=3)
    build("cae(kernel='acb', length=2)", DETECTORS).build().save(folder)
    digest = load_detector(folder).weights_digest

    def refused(block: AsymmetricBlock, x: object) -> None:
        raise AssertionError("the block was not fused")

    monkeypatch.setattr(AsymmetricBlock, "forward", refused)
    for command, more in (("score", ("--explain", "grad-cam")), ("explain", ("--explainer", "grad-cam"))):
        out = tmp_path / command
        done = call(command, source, "--detector", folder, "--threshold", 0, "--out", out, *more)
        assert done.exit_code == 0, done.output
        (entry,) = Store.open(out / "records.db").records()
        assert entry.readable().detection.weights == digest
        done = call("replay", out / "records.db", entry.id[:12])
        assert done.exit_code == 0, done.output
        assert done.output.count("agrees") == 2


def test_info_describes_it(call: Call, folder: Path) -> None:
    done = call("info", folder)
    assert done.exit_code == 0, done.output
    assert "mean-frame(" in done.output
    assert '"calibration"' in done.output
    assert "score      squared-error" in done.output


def test_a_predictor_is_scored_and_explained_on_the_frames_it_predicts(
    call: Call, make_film: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_film("jump.mp4", ((2.0, 2.4),), frames=40)
    made = PreviousFrame(size=32, length=5, smooth=1).build()
    clips = list(made.windows.cut(open_source(make_film("still.mp4", (), frames=30, seed=2))))
    detector = saved(made, clips, tmp_path / "detector")
    done = call("explain", source, "--detector", detector, "--out", tmp_path / "why")
    assert done.exit_code == 0, done.output
    (entry,) = Store.open(tmp_path / "why" / "records.db").records()
    record = entry.readable()
    assert [each.explainer for each in record.evidence] == ["residual"]
    assert record.outcome.smoothing == "none"
    with np.load(tmp_path / "why" / (record.evidence[0].map or ""), allow_pickle=False) as held:
        times, values = held["times"], held["values"]
    mass = dict(zip(times.round(2).tolist(), values.sum(axis=(1, 2)).tolist(), strict=True))
    strongest = sorted(sorted(mass, key=lambda time: -mass[time])[:2])
    assert strongest == [2.0, 2.5]  # the flash comes and goes; no frame of a window's seam is halved
    hidden = record.evidence[0].hidden_score
    assert hidden is not None
    assert hidden.fill == "the clip's median picture"
    assert hidden.value < record.detection.value


def test_what_is_explained_by_default_is_what_alarms_are_made_of(folder: Path, film: Path) -> None:
    detector = load_detector(folder)
    assert (default_score(detector), default_line(detector)) == ("squared-error", "residual")
    assert default_line(detector, "centre-distance") == "grad-cam"
    clip = next(detector.windows.cut(open_source(film)))
    found = explain(detector, clip)
    x = detector.prepare(clip)
    assert detector.network is not None
    expected = SquaredError().density(detector.network(x), x)
    np.testing.assert_allclose(found.raw, expected, rtol=1e-5)
    np.testing.assert_array_equal(explain(detector.network, x).values, found.values)
    assert isinstance(detector, ReconstructionDetector)
    both = ReconstructionDetector(replace(detector.settings, score="squared-error+ssim"), detector.network)
    both.facts = {"scales": {"squared-error": 4.0, "ssim": 0.5}}
    added = build("sum(of=[squared-error, ssim], weights=[0.25, 2.0])", SCORES)
    np.testing.assert_allclose(explain(both, clip).raw, added.density(detector.network(x), x), rtol=1e-5)
    assert json.loads((folder / "detector.json").read_text())["classes"] == []
