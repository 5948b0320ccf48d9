"""``vidence evaluate`` from a detector's folder and a set to its figures, scores and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from sklearn.metrics import roc_auc_score

from vidence.datasets.dataset import digest
from vidence.datasets.folder import Folder
from vidence.frames.source import open_source
from vidence.models.convlstm_predict import ConvLSTMPredict
from vidence.models.detector import load_detector
from vidence.models.trivial import PreviousFrame

Call = Callable[..., Result]
FILES = ["metrics.json", "roc.png", "scores.csv", "timeline.png"]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = PreviousFrame(channels=1, size=32, length=5, smooth=1).build()
    made.threshold = {"value": 5.0, "rule": "quantile", "origin": "0.99 quantile of 40 normal frames", "warnings": []}
    folder = tmp_path_factory.mktemp("evaluated") / "detector"
    made.save(folder)
    return folder


@pytest.fixture(scope="module")
def measured(call: Call, detector: Path, tiny_ped2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("measured") / "out"
    done = call("evaluate", detector, "ucsd-ped2", "--root", tiny_ped2, "--out", out)
    assert done.exit_code == 0, done.output
    return done.stdout, out


def test_both_protocols_are_printed_and_which_is_causal(measured: tuple[str, Path]) -> None:
    text, out = measured
    live = json.loads((out / "metrics.json").read_text())
    lines = text.splitlines()
    assert lines[0].split() == ["live", "paper"]
    assert lines[1].split()[:3] == ["causal", "yes", "no,"]
    assert lines[2].split() == ["AUC", f"{live['frame_auc']:.3f}", f"{live['other_protocol']['frame_auc']:.3f}"]
    assert (
        f"4 of 4 events found, {live['event_delay_s']:.2f} s after their start, + up to {live['told_s']:.2f} s" in text
    )


def test_the_error_of_every_step_ahead_is_told(
    call: Call, measured: tuple[str, Path], tiny_ped2: Path, tmp_path: Path
) -> None:
    ConvLSTMPredict(size=16, length=4, horizon=2).build().save(tmp_path / "detector")
    done = call("evaluate", tmp_path / "detector", "ucsd-ped2", "--root", tiny_ped2, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    first, second = json.loads((tmp_path / "out" / "metrics.json").read_text())["error_per_step"]
    assert f"\nahead      error {first:.4g}, {second:.4g} by step\n" in done.stdout
    assert "\nahead" not in measured[0]


def test_the_files_are_written_whole(measured: tuple[str, Path]) -> None:
    _, out = measured
    assert sorted(path.name for path in out.iterdir()) == FILES
    live = json.loads((out / "metrics.json").read_text())
    assert live["protocol"] == "live"
    assert live["other_protocol"]["protocol"] == "paper"
    assert live["pixel_auc"] is not None


def test_the_scores_are_the_live_ones(measured: tuple[str, Path]) -> None:
    _, out = measured
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["source", "frame", "time_s", "score", "raw_error", "anomalous"]
    assert len(rows) == 76
    assert [row["frame"] for row in rows[:3]] == ["1", "2", "3"]
    assert rows[0]["time_s"] == "0.100"
    auc = roc_auc_score([int(row["anomalous"]) for row in rows], [float(row["score"]) for row in rows])
    assert auc == pytest.approx(json.loads((out / "metrics.json").read_text())["frame_auc"], abs=1e-4)


def test_the_other_protocol_comes_first_when_asked_for(
    call: Call, detector: Path, tiny_ped2: Path, measured: tuple[str, Path], tmp_path: Path
) -> None:
    line = ("--root", tiny_ped2, "--out", tmp_path, "--protocol", "paper", "--no-pixels")
    done = call("evaluate", detector, "ucsd-ped2", *line)
    assert done.exit_code == 0, done.output
    paper, live = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path, measured[1]))
    assert paper["protocol"] == "paper"
    assert paper["frame_auc"] == live["other_protocol"]["frame_auc"]
    assert paper["other_protocol"]["frame_auc"] == live["frame_auc"]
    assert paper["pixel_auc"] is None
    assert (tmp_path / "scores.csv").read_text() == (measured[1] / "scores.csv").read_text()


def test_own_folders_are_measured_on_what_was_not_trained_on(
    call: Call, detector_folder: Path, make_film: Callable[..., Path], tmp_path: Path
) -> None:
    for label, flashes in (("flash", ((0.2, 0.9),)), ("normal", ())):
        (tmp_path / "clips" / label).mkdir(parents=True)
        for number in range(4):
            film = make_film(f"own-{label}-{number}.mp4", flashes, frames=12, seed=number)
            (tmp_path / "clips" / label / film.name).symlink_to(film)
    counts = {}
    for more in ((), ("--all",)):
        out = tmp_path / f"out{len(more)}"
        done = call("evaluate", detector_folder, tmp_path / "clips", "--out", out, *more)
        assert done.exit_code == 0, done.output
        counts[more] = json.loads((out / "metrics.json").read_text())["sources"]
    assert counts == {(): 2, ("--all",): 8}


def test_the_split_of_the_training_is_measured_whatever_its_seed(
    call: Call, detector: Path, quiet_film: Path, tmp_path: Path
) -> None:
    """The seed of the start may be another one than that of the split: then the latter says what was held out."""
    for number in range(12):
        (tmp_path / "clips" / "normal").mkdir(parents=True, exist_ok=True)
        clip = tmp_path / "clips" / "normal" / f"{number}.mp4"
        clip.write_bytes(quiet_film.read_bytes() + bytes([number]))  # no copy of another: copies are of one group
    (tmp_path / "clips" / "odd").mkdir()
    (tmp_path / "clips" / "odd" / "0.mp4").symlink_to(quiet_film)
    made = load_detector(detector)
    made.facts |= {"seed": 2, "split_seed": 1}
    made.save(tmp_path / "detector")
    tests = {seed: Folder(str(tmp_path / "clips")).normal_split(seed)[2] for seed in (1, 2)}
    assert tests[1] != tests[2]
    done = call("evaluate", tmp_path / "detector", tmp_path / "clips", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "not trained on the other parts" not in done.stderr, "nothing is known of a training"
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        assert {row["source"] for row in csv.DictReader(file)} == {sample.path for sample in tests[1]}


def test_another_split_than_that_of_the_training_is_told(
    call: Call, detector: Path, make_film: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(6):
        label = "odd" if number > 4 else "normal"
        (tmp_path / "clips" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / label / f"{number}.mp4").symlink_to(make_film(f"split-{number}.mp4", seed=number))
    train, val, _ = Folder(str(tmp_path / "clips")).normal_split(1)
    made = load_detector(detector)
    made.facts |= {"seed": 1, "training_data": digest([*train, *val])}
    made.save(tmp_path / "detector")
    asked = ("evaluate", tmp_path / "detector", tmp_path / "clips", "--out", tmp_path / "out")
    told = {more: "not trained on the other parts" in call(*asked, *more).stderr for more in ((), ("--seed", 0))}
    assert told == {(): False, ("--seed", 0): True}
    assert "not trained" not in call(*asked, "--seed", 0, "--all").stderr


@pytest.mark.parametrize("learnt", [(), ("Test001.mp4", "Test003.mp4")])
def test_what_was_adapted_on_is_told(
    call: Call, detector: Path, tiny_ped2: Path, tmp_path: Path, learnt: tuple[str, ...]
) -> None:
    made = load_detector(detector)
    made.facts["history"] = [{"sources": [open_source(tiny_ped2 / "test" / name).digest]} for name in learnt]
    made.save(tmp_path / "detector")
    done = call(
        "evaluate", tmp_path / "detector", "ucsd-ped2", "--root", tiny_ped2, "--out", tmp_path / "out", "--no-pixels"
    )
    assert done.exit_code == 0, done.output
    assert ("adapted on 2 of the 4 sources" in done.stderr) is bool(learnt)


def test_own_frames_have_the_rate_that_is_given(call: Call, detector: Path, tmp_path: Path) -> None:
    for name in ("normal/a", "normal/b", "odd/c"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for t in range(8):
            cv2.imwrite(str(tmp_path / "clips" / name / f"{t}.png"), np.full((32, 32, 3), 30 * t, np.uint8))
    times = {}
    for more in ((), ("--fps", 4)):
        asked = ("evaluate", detector, tmp_path / "clips", "--all", "--out", tmp_path / "out", *more)
        done = call(*asked)
        assert done.exit_code == 0, done.output
        assert done.stderr.count("no frame rate was given") == (0 if more else 3)
        with (tmp_path / "out" / "scores.csv").open(newline="") as file:
            times[more] = [float(row["time_s"]) for row in csv.DictReader(file)]
    assert times[()][:3] == [1, 2, 3]
    assert times[("--fps", 4)][:3] == [0.25, 0.5, 0.75]


def test_mistakes_are_told(call: Call, detector: Path, tiny_ped2: Path, tmp_path: Path) -> None:
    said = call("evaluate", detector, "ucsd-ped2", "--out", tmp_path / "out")
    assert said.exit_code == 1
    assert "needs --root DIR" in said.stderr
    said = call("evaluate", tmp_path, "ucsd-ped2", "--root", tiny_ped2, "--out", tmp_path / "out")
    assert said.exit_code == 1
    assert "detector.json" in said.stderr
    assert not (tmp_path / "out").exists()
