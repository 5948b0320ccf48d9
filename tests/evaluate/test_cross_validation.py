"""Folds that leak nothing, models measured in the same folds, and runs that go on."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vidence.datasets.dataset import Sample
from vidence.errors import DataError
from vidence.evaluate import cross_validation
from vidence.evaluate.baselines import class_probabilities, frame_average, mean_change, nuisance, regression
from vidence.evaluate.cross_validation import Candidate, cross_validate, grouped_folds, table
from vidence.models.cnn_rnn import CnnRnn
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples
from vidence.training.schedule import Schedule
from vidence.training.workbench import Workbench


def test_no_group_stands_on_two_sides() -> None:
    random = np.random.default_rng(0)
    groups = [f"g{place}" for place in random.integers(0, 15, 80)]
    labels = random.integers(0, 2, 80)
    folds = grouped_folds(labels, groups, folds=5, inner=3, seeds=(0, 1))
    assert [(fold.seed, fold.number) for fold in folds] == [(seed, number) for seed in (0, 1) for number in range(5)]
    for seed in (0, 1):
        tests = np.concatenate([fold.test for fold in folds if fold.seed == seed])
        assert sorted(tests) == list(range(80))
    side = np.array(groups)
    for fold in folds:
        assert not set(side[fold.train]) & set(side[fold.test])
        for held_in, held_out in fold.inner:
            assert not set(side[held_in]) & set(side[held_out])
            assert set(held_in) | set(held_out) == set(fold.train)
    assert (folds[0].test.tolist()) != (folds[5].test.tolist()), "each seed shuffles anew"


def test_too_few_groups() -> None:
    with pytest.raises(DataError, match="5 folds, 3 inner ones and 2 groups"):
        grouped_folds(np.array([0, 1, 0, 1]), ["a", "a", "b", "b"], folds=5, inner=3, seeds=(0,))


def test_what_baselines_see() -> None:
    x = np.array([[[1.0, 0.0], [3.0, 1.0], [3.0, 1.0]], [[5.0, 1.0], [5.0, 1.0], [5.0, 1.0]]], dtype=np.float32)
    times = np.array([[0.0, 0.1, 0.2], [0.3, 0.3, 0.3]])  # the second window holds one frame and two repeats
    examples = Examples([[Entry(x, times)]], np.array([0]))
    np.testing.assert_allclose(frame_average(examples), [[(1 + 3 + 3 + 5) / 4, (0 + 1 + 1 + 1) / 4]])
    np.testing.assert_allclose(mean_change(examples), [[1.0, 0.5]])
    still = Examples([[Entry(x[1:, :1], times[1:, :1])]], np.array([0]))
    np.testing.assert_array_equal(mean_change(still), [[0.0, 0.0]])


def test_regression_finds_a_line_and_knows_all_classes() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2 * 2  # class 1 of three is absent
    x = random.normal(size=(60, 4)) + labels[:, None]
    groups = [str(place // 6) for place in range(60)]
    model = regression(x, labels, groups, seed=0, inner=3)
    found = class_probabilities(model, x, 3)
    assert found.shape == (60, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found[:, 1] == 0).all()
    assert (found.argmax(axis=1) == labels).mean() > 0.9


@pytest.fixture
def clips(tmp_path: Path) -> list[Sample]:
    """Flicker or none, two clips of each in six groups."""
    random, made = np.random.default_rng(0), []
    for number in range(12):
        folder, label = tmp_path / f"clip{number:02d}", "flicker" if number % 2 else "normal"
        folder.mkdir()
        for t in range(4):
            level = 200 if label == "flicker" and t % 2 else 60
            pixels = np.clip(random.normal(level, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{t}.png"), pixels)
        made.append(Sample(str(folder), label, f"camera{number // 2}"))
    return made


def test_all_models_in_the_same_folds_and_resumed(
    clips: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(("flicker", "normal"), ("normal",), cache=tmp_path / "cache")
    shape = {"size": 32, "rate": 0.0, "length": 4, "stride": 4, "units": 4, "projection": 8, "width": 8, "frozen": True}
    settings = CnnRnn(backbone="small", features="gap", **shape)
    good = Candidate("good", settings, Schedule(epochs=20, batch=8, rate=0.02, patience=None))
    bad = Candidate("bad", settings, Schedule(epochs=1, batch=8, rate=1e-6, patience=None))
    fits: list[Any] = []
    train = cross_validation.train_classifier

    def counted(*rest: Any, **options: Any) -> Any:
        if len(fits) == stop:
            raise KeyboardInterrupt
        fits.append(1)
        return train(*rest, **options)

    def run() -> list[dict[str, Any]]:
        return cross_validate(clips, [bad, good], bench, tmp_path / "out", folds=2, inner=2, seeds=(0,))

    monkeypatch.setattr(cross_validation, "train_classifier", counted)
    stop = 7
    with pytest.raises(KeyboardInterrupt):
        run()
    stop = 99
    rows = run()
    assert len(fits) == 2 * (2 * 2 + 1), "what was fitted before the stop is not fitted again"
    assert len(rows) == 2 * 4
    recurrent = [row for row in rows if row["model"] == "cnn-rnn"]
    assert [row["chosen"] for row in recurrent] == ["good", "good"]
    assert min(row["auc"] for row in recurrent) == 1.0
    by_name = {row["model"]: row for row in rows}
    assert by_name["mean-change"]["auc"] == 1.0
    assert by_name["nuisance"]["auc"] == 0.5, "size and rate are the same for all clips"
    text = (tmp_path / "out" / "table.md").read_text()
    assert " 1.000 ± 0.000 | 1.000 |" in next(line for line in text.splitlines() if line.startswith("| mean-change |"))
    assert (tmp_path / "out" / "predictions" / "cnn-rnn-seed0-fold1.csv").read_text().startswith("file,label,p_flicker")
    assert len((tmp_path / "out" / "folds.csv").read_text().splitlines()) == 1 + 8
    assert nuisance(clips[:1])[0, :2].tolist() == [32, 32]


def test_the_table_pools_each_seed() -> None:
    row = {"model": "m", "seed": 0, "accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0}
    row |= {"auc": float("nan"), "average_precision": float("nan")}
    first = row | {"labels": [0, 0], "found": [[0.9, 0.1], [0.6, 0.4]]}
    second = row | {"labels": [1, 1], "found": [[0.7, 0.3], [0.2, 0.8]], "accuracy": 0.5}
    line = table([first, second], normal=[0]).splitlines()[2]
    assert line == "| m | 0.750 ± 0.354 | 1.000 ± 0.000 | 1.000 ± 0.000 | - | - | 0.750 |"
