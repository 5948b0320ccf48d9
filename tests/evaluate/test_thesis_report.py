"""What the table says follows from its rows alone."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import cv2
import pytest
from matplotlib.figure import Figure

from vidence.evaluate.thesis_report import COLUMNS, draw, lines, text, verdict, write_csv
from vidence.evaluate.thesis_rows import chosen

ROWS = chosen("ucsd-ped2", ["previous frame", "BCAE1", "SSA CAE"])


def run(name: str, live: float, paper: float, *, plateau: bool = True) -> dict[str, Any]:
    held = dict.fromkeys(COLUMNS, 0.5)
    held |= {"live_frame_auc": live, "paper_frame_auc": paper, "live_pro": math.nan}
    return {"row": name, "epochs": 3, "plateau": plateau, **held}


RUNS = [run("previous frame", 0.8, 0.9), run("BCAE1", 0.7, 0.8), run("BCAE1", 0.72, 0.84, plateau=False)]


def test_means_and_deviations_are_over_seeds_and_missing_rows_are_left_out() -> None:
    found = lines("ucsd-ped2", ROWS, RUNS)
    assert [each.row.name for each in found] == ["previous frame", "BCAE1"]
    bcae = found[1]
    assert bcae.means["live_frame_auc"] == pytest.approx(0.71)
    assert bcae.deviations["live_frame_auc"] == pytest.approx(0.02 / math.sqrt(2))
    assert (bcae.runs, bcae.state) == (2, "unconverged")
    assert math.isnan(found[0].deviations["live_frame_auc"])
    assert math.isnan(found[0].means["live_pro"])


def test_the_longest_trainings_of_a_row_count() -> None:
    longer = run("BCAE1", 0.9, 0.9) | {"epochs": 9}
    (bcae,) = lines("ucsd-ped2", ROWS[1:2], [*RUNS, longer])
    assert (bcae.runs, bcae.epochs, bcae.means["live_frame_auc"]) == (1, 9, 0.9)


def test_the_verdict_names_the_line_to_beat_in_each_protocol() -> None:
    better = lines("ucsd-ped2", ROWS, [*RUNS, run("SSA CAE", 0.81, 0.88)])
    paper, live = verdict(better).splitlines()
    assert paper.startswith("`paper`")
    assert "previous frame with 90.0; 0 of 2 rows are above it: none." in paper
    assert "previous frame with 80.0; 1 of 2 rows are above it: SSA CAE 81.0." in live


def test_the_table_prints_the_thesis_beside_ours() -> None:
    table = text("ucsd-ped2", lines("ucsd-ped2", ROWS, RUNS))
    assert "auc: thesis / ours | eer: thesis / ours | f1: thesis / ours | live auc |" in table
    assert "| previous frame | baseline | - / 90.0 |" in table
    assert "/ 82.0 ± 2.8 | 26.5 / 50.0 ± 0.0 | 70.7 / 50.0 ± 0.0 | 71.0 ± 1.4 |" in table
    assert "2 x 3 | unconverged |" in table
    assert "AUC per class" not in table


def test_sets_with_classes_get_a_table_of_them() -> None:
    runs = [each | {"auc_crack": 0.7, "auc_fray": 0.6} for each in RUNS]
    table = text("magnetic-tile", lines("magnetic-tile", ROWS, runs))
    assert "| AUC per class | crack | fray |" in table
    assert "| BCAE1 | 70.0 ± 0.0 | 60.0 ± 0.0 |" in table
    assert "| auc, paper |" in table


def test_files_hold_all_rows_and_a_picture(tmp_path: Path) -> None:
    found = lines("ucsd-ped2", ROWS, RUNS)
    write_csv(tmp_path / "t.csv", found)
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["live_frame_auc"]) == pytest.approx(0.71)
    draw(tmp_path / "t.png", "ucsd-ped2", found)
    picture = cv2.imread(str(tmp_path / "t.png"))
    assert picture.shape[0] > 300
    assert picture.std() > 10


@pytest.mark.parametrize(("auc", "floor"), [(0.12, 0.07), (0.5, 0.4), (0.01, 0.0)])
def test_no_bar_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auc: float, floor: float) -> None:
    shown: list[float] = []

    def save(figure: Figure, file: Path, **_: str) -> None:
        shown.append(figure.axes[0].get_ylim()[0])
        file.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    runs = [each | {"live_frame_auc": auc} for each in RUNS]
    draw(tmp_path / "t.png", "ucsd-ped2", lines("ucsd-ped2", ROWS, runs))
    assert shown == [pytest.approx(floor)]
