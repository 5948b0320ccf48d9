from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidence.datasets.dataset import Sample
from vidence.errors import DataError
from vidence.models.cnn_rnn import CnnRnn
from vidence.training.schedule import Schedule
from vidence.training.sweep import MEASURES, SWEEPS, run_sweep
from vidence.training.sweep_report import describe, rank_correlations, summarise, write_sweep_report
from vidence.training.workbench import Workbench


def made_rows(effect: float, noise: float) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    rows = []
    for seed in range(4):
        for value in (2, 3, 4):
            level = 0.6 + effect * value + noise * random.normal()
            rows.append({"value": value, "seed": seed, "entropy": -level} | dict.fromkeys(MEASURES.values(), level))
    return rows


def test_the_published_numbers() -> None:
    units = SWEEPS["units"].published()
    assert tuple(units) == SWEEPS["units"].values
    assert units[8] == pytest.approx({"accuracy": 0.833, "precision": 0.196, "recall": 0.842, "f1": 0.317})
    assert SWEEPS["dropout"].published()[0.25]["accuracy"] == pytest.approx(0.873)
    assert tuple(SWEEPS["blocks"].published()) == (2, 3, 4)


def test_means_and_deviations() -> None:
    rows = made_rows(0.05, 0.01)
    for row in summarise("blocks", rows, maps=["entropy"]):
        runs = [each["accuracy"] for each in rows if each["value"] == row["value"]]
        assert row["accuracy_mean"] == pytest.approx(np.mean(runs))
        assert row["accuracy_sd"] == pytest.approx(np.std(runs, ddof=1))
        assert row["runs"] == 4
        assert row["entropy_mean"] == pytest.approx(-np.mean(runs))
    assert summarise("blocks", rows)[1]["accuracy_paper"] == pytest.approx(0.922)


def test_the_text_says_what_exceeds_the_noise() -> None:
    assert "accuracy: best mean 0.8" in describe("blocks", made_rows(0.05, 0.001))
    assert "3 of 3 differences exceed the noise" in describe("blocks", made_rows(0.05, 0.001))
    assert "none of the 3 differences exceeds the noise" in describe("blocks", made_rows(0.0, 0.02))
    single = [row for row in made_rows(0.05, 0.001) if row["seed"] == 0]
    assert "the noise is unknown" in describe("blocks", single)


def test_rank_correlations_are_taken_within_seeds() -> None:
    rows = made_rows(0.05, 0.0)
    for row in rows:
        row["entropy"] += 10 * row["seed"]  # a shift between seeds must not matter
    assert rank_correlations(rows, ["entropy"])["entropy", "accuracy"] == pytest.approx((-1.0, 0.0))
    flat = [row | {"entropy": 0.0} for row in rows]
    assert np.isnan(rank_correlations(flat, ["entropy"])["entropy", "f1"][0])


def test_the_report_is_written(tmp_path: Path) -> None:
    text = write_sweep_report("blocks", made_rows(0.05, 0.01), tmp_path, maps=["entropy"])
    assert (tmp_path / "blocks.txt").read_text() == text
    assert "entropy and accuracy: rank correlation over settings -" in text
    assert (tmp_path / "blocks.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "blocks-summary.csv").read_text().splitlines()) == 4
    with pytest.raises(DataError, match="got none"):
        write_sweep_report("blocks", [], tmp_path)


def test_a_sweep_is_run_point_by_point_and_resumed(
    clips: list[Sample], settings: CnnRnn, bench: Workbench, tmp_path: Path
) -> None:
    seen: list[tuple[float, int]] = []

    def parts(seed: int) -> Mapping[str, Sequence[Sample]]:
        return {"train": clips[:6], "val": clips[6:8], "test": clips[8:]}

    def measure(labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
        assert found.shape == (4, 2)
        return dict.fromkeys(MEASURES.values(), float((found.argmax(axis=1) == labels).mean()))

    def on_point(value: Any, seed: int, detector: Any) -> dict[str, float]:
        if (value, seed) == (4, 1) and stop:
            raise KeyboardInterrupt
        assert detector.settings.blocks == value
        seen.append((value, seed))
        return {"entropy": 0.5}

    def run() -> list[dict[str, Any]]:
        schedule, seeds = Schedule(epochs=1), (0, 1)
        return run_sweep(
            "blocks",
            settings,
            parts,
            bench,
            tmp_path,
            measure=measure,
            seeds=seeds,
            schedule=schedule,
            on_point=on_point,
        )

    stop = True
    with pytest.raises(KeyboardInterrupt):
        run()
    assert seen == [(2, 0), (3, 0), (4, 0), (2, 1), (3, 1)]
    stop = False
    rows = run()
    assert seen == [(2, 0), (3, 0), (4, 0), (2, 1), (3, 1), (4, 1)], "finished points are not run again"
    assert [(row["value"], row["seed"]) for row in rows] == seen
    assert all(row["entropy"] == 0.5 for row in rows)
    with pytest.raises(DataError, match="one of units, dropout, blocks"):
        run_sweep("depth", settings, parts, bench, tmp_path, measure=measure)
