"""Rows are trained, measured and kept; what the ledger has is not run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidence.datasets.dataset import Dataset, Sample, Truth, digest
from vidence.errors import DataError
from vidence.evaluate import thesis_tables
from vidence.evaluate.thesis_report import lines, verdict
from vidence.evaluate.thesis_rows import Row, chosen
from vidence.evaluate.thesis_tables import Bench
from vidence.training.ledger import Ledger, run_key

FLASHES = ((1.0, 1.5), (4.4, 4.9))  # of the fixture `film`, in seconds
TINY = "cae(plan='bcae1', channels=1)"


@dataclass(frozen=True)
class Flashes(Dataset):
    """Quiet films to learn from, and one with two flashes."""

    quiet: tuple[Path, ...]
    film: Path
    channels = 1

    def samples(self) -> list[Sample]:
        return [*(Sample(str(path), "normal", path.stem) for path in self.quiet), self.loud]

    @property
    def loud(self) -> Sample:
        return Sample(str(self.film), "anomalous", "film")

    def normal_split(self, seed: int = 0) -> tuple[list[Sample], list[Sample], list[Sample]]:
        quiet = self.samples()[:-1]
        return quiet[:-1], quiet[-1:], [self.loud]

    def truth(self, sample: Sample, frames: int) -> Truth:
        times = np.arange(frames) / 10
        return Truth(np.any([(times > first - 0.05) & (times < last + 0.05) for first, last in FLASHES], axis=0))


class Found:
    """An evaluation that found nothing."""

    def metrics(self, protocol: str) -> dict[str, Any]:
        return {}


@pytest.fixture
def flashes(make_film: Callable[..., Path], film: Path) -> Flashes:
    return Flashes(tuple(make_film(f"quiet-{i}.mp4", (), frames=24, seed=i) for i in range(3)), film)


def test_trivial_rows_are_run_once_and_kept(flashes: Flashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = chosen("ucsd-ped2", ["baseline"])
    bench = Bench("flashes", flashes, tmp_path)
    runs = bench.run(rows, seeds=3, epochs=None)
    assert [run["row"] for run in runs] == ["random", "mean frame", "previous frame"]  # a seed changes nothing in them
    assert runs[1]["live_frame_auc"] > 0.9
    assert runs[1]["mse"] == pytest.approx(runs[1]["mean_frame_mse"], rel=1e-3)
    assert (tmp_path / "detectors" / "flashes" / "corrected" / "mean-frame-0-default" / "detector.json").is_file()
    monkeypatch.setattr(thesis_tables, "evaluate", lambda *_, **__: pytest.fail("it was kept"))
    again = Bench("flashes", flashes, tmp_path).run(rows, seeds=3, epochs=None)
    assert [run["live_frame_auc"] for run in again] == [run["live_frame_auc"] for run in runs]
    assert [run["row"] for run in bench.kept(rows[1:])] == ["mean frame", "previous frame"]


def test_a_run_is_known_by_what_decides_it(flashes: Flashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's own 30 epochs are the same run whether they are asked for or not; another split is another run."""
    rows, told = chosen("ucsd-ped2", ["mean frame"]), []
    monkeypatch.setattr(thesis_tables, "evaluate", lambda *_, **__: Found())
    for epochs, split in ((None, 0), (30, 0), (None, 1), (30, 1), (29, 0)):
        bench = Bench("flashes", flashes, tmp_path, split_seed=split)
        bench.run(rows, seeds=1, epochs=epochs, tell=lambda text, asked=(epochs, split): told.append(asked))
    assert told == [(None, 0), (None, 1), (29, 0)]
    folders = sorted(folder.name for folder in (tmp_path / "detectors" / "flashes" / "corrected").iterdir())
    assert folders == ["mean-frame-0-29", "mean-frame-0-default", "mean-frame-0-default-split-1"]


@pytest.mark.parametrize("asked", [None, 30])
def test_ledgers_of_before_are_read_whatever_was_asked_for(flashes: Flashes, tmp_path: Path, asked: int | None) -> None:
    """Their keys tell 30 epochs that were asked for from 30 that were not; a table counts them as one run."""
    (row,) = chosen("ucsd-ped2", ["mean frame"])
    train, val, test = flashes.normal_split()
    facts = {"row": row.name, "line": row.line, "seed": 0, "data": digest([*train, *val, *test]), "recipe": "corrected"}
    ledger = Ledger(tmp_path / "flashes.csv")
    about = {"row": row.name, "recipe": "corrected", "seed": 0, "epochs": 30}
    bench = Bench("flashes", flashes, tmp_path)
    ledger.add(run_key(facts | {"epochs": asked}), about | {"live_frame_auc": 0.5})
    assert [run["live_frame_auc"] for run in bench.run([row], seeds=1, epochs=None)] == [0.5]
    assert [run["live_frame_auc"] for run in bench.run([row], seeds=1, epochs=30)] == [0.5]
    ledger.add("another key", about | {"live_frame_auc": 0.5})
    ledger.add("another split", about | {"live_frame_auc": 0.6, "split_seed": 1})
    assert [run["live_frame_auc"] for run in bench.kept([row])] == [0.5]
    other = Bench("flashes", flashes, tmp_path, split_seed=1)
    assert [run["live_frame_auc"] for run in other.kept([row])] == [0.6]


def test_a_tuned_row_starts_from_the_trained_one(flashes: Flashes, tmp_path: Path) -> None:
    rows = (Row("plain", "x", TINY), Row("tuned", "x", "cae(svdd='tuned')", starts_from="plain"))
    runs = Bench("flashes", flashes, tmp_path).run(rows, seeds=1, epochs=1)
    assert [run["row"] for run in runs] == ["plain", "tuned"]
    assert all(0 <= run["live_frame_auc"] <= 1 for run in runs)
    found = lines("ucsd-ped2", rows, runs)
    assert found[0].state == "unconverged"
    assert "nothing to compare" in verdict(found)


def test_a_set_without_a_test_part_is_refused(
    flashes: Flashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = flashes.normal_split()
    monkeypatch.setattr(Flashes, "normal_split", lambda self, seed=0: (*parts[:2], []))
    with pytest.raises(DataError, match="to test on"):
        Bench("flashes", flashes, tmp_path).run(chosen("ucsd-ped2", ["baseline"]), seeds=1, epochs=None)
