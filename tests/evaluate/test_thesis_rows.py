"""Every row of the thesis' tables is a detector of ours, and keeps its printed numbers."""

from __future__ import annotations

import pytest

from vidence.errors import SpecError
from vidence.evaluate.thesis_rows import chosen, printed, recurrent, rows_for
from vidence.models import DETECTORS
from vidence.spec import build

SETS = ("ucsd-ped2", "avenue", "subway-entrance", "subway-exit", "ucsd-ped1", "ham10000", "mvtec", "driver")


@pytest.mark.parametrize("dataset", [*SETS, "magnetic-tile", "shanghaitech"])
def test_every_row_names_a_detector_and_is_called_once(dataset: str) -> None:
    rows = rows_for(dataset)
    for row in rows:
        build(row.line, DETECTORS)
    assert len({row.name for row in rows}) == len(rows)
    assert all(not row.starts_from or row.starts_from in {other.name for other in rows} for row in rows)


def test_printed_numbers_are_the_thesis_own() -> None:
    rows = {row.name: row for row in rows_for("ucsd-ped2")}
    bcae = {"auc": 0.8385, "eer": 0.2652, "precision": 0.8495, "recall": 0.6692, "f1": 0.7074}
    assert printed("ucsd-ped2", rows["BCAE1"]) == pytest.approx(bcae)
    assert printed("ucsd-ped2", rows["BCAE1 + SVDD"])["auc"] == pytest.approx(0.8885)
    assert printed("ucsd-ped2", rows["CGRU(1,Y)"]) == {"auc": 0.86, "eer": 0.21}
    assert printed("ucsd-ped2", rows["previous frame"]) == {}
    images = {row.name: row for row in rows_for("ham10000")}
    assert printed("ham10000", images["KS-CAE, MSE + SSIM"]) == {"class_mean_auc": 0.75}
    assert printed("driver", images["CAE, MSE"]) == {"class_mean_auc": 0.75}
    assert printed("magnetic-tile", images["BCAE1"]) == {}


def test_the_recurrent_rows_are_the_45_of_table_4_13() -> None:
    rows = recurrent()
    assert len({row.line for row in rows}) == len(rows) == 45
    assert all("auc" in printed(each, row) for row in rows for each in SETS[:5])


def test_rows_are_chosen_by_name_or_table_and_bring_what_they_start_from() -> None:
    assert [row.name for row in chosen("ucsd-ped2", ["BCAE1 + SVDD"])] == ["BCAE1", "BCAE1 + SVDD"]
    assert len(chosen("ucsd-ped2", ["4.13"])) == 45
    assert chosen("ucsd-ped2", []) == rows_for("ucsd-ped2")
    with pytest.raises(SpecError, match=r"BCAE1.*got BCAE9"):
        chosen("ucsd-ped2", ["BCAE9"])
