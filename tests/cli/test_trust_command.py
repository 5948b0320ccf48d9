"""`vidence trust`: the short check is printed, recorded, reported, and comes out again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from vidence.record.decision import DecisionRecord
from vidence.record.store import Store
from vidence.review.short_check import CLAIM

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def done(
    call: Call, detector_folder: Path, film: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Path]:
    out = tmp_path_factory.mktemp("trust")
    lines = ("--explainer", "grad-cam", "--explainer", "rise(n=16, cells=2)")
    return call("trust", detector_folder, film, "--out", out, *lines, "--from", "4.5", "--to", "4.6"), out


def records(out: Path) -> list[DecisionRecord]:
    return [entry.readable() for entry in Store.open(out / "records.db").records()]


def test_every_picture_is_checked(done: tuple[Result, Path]) -> None:
    result, out = done
    assert result.exit_code == 0, result.output
    untold, record = records(out)
    assert untold.evidence == ()
    first, second = record.evidence
    assert first.trust is not None
    assert second.trust is not None
    assert (first.trust.other, second.trust.other) == (second.explainer, first.explainer)
    assert first.trust.first == record.detection.clip.first
    assert first.trust.agreement == pytest.approx(second.trust.agreement)
    assert second.trust.varied == "another seed"
    assert result.output.count("checks could be made") + result.output.count("there is little reason") == 2


def test_the_report_says_it_in_words(done: tuple[Result, Path]) -> None:
    text = (done[1] / "report.html").read_text()
    assert text.count(CLAIM) == 2
    assert "could not be measured: hiding the whole clip does not lower the score" in text  # it was not trained


def test_a_replay_checks_it_again(call: Call, done: tuple[Result, Path]) -> None:
    store = done[1] / "records.db"
    _, record = records(done[1])
    again = call("replay", store, record.id)
    assert again.exit_code == 0, again.output
    assert again.output.count("agrees     short check of") == 2
    first, second = record.evidence
    assert first.trust is not None
    for wrong in (replace(first.trust, rerun=9.0), replace(first.trust, sane=None)):
        forged = Store.open(done[1] / "records.db").append(
            replace(record, evidence=(replace(first, trust=wrong), second)),
            place=Store.open(store).get(record.id).place,
        )
        again = call("replay", store, forged)
        assert again.exit_code == 1
        assert again.output.count("DISAGREES  short check of grad-cam") == 1
        assert again.output.count("DISAGREES") == 1


def test_another_family_is_added(call: Call, detector_folder: Path, quiet_film: Path, tmp_path: Path) -> None:
    result = call("trust", detector_folder, quiet_film, "--out", tmp_path, "--explainer", "grad-cam", "--to", "0")
    assert result.exit_code == 0, result.output
    (record,) = records(tmp_path)
    assert [each.explainer for each in record.evidence] == ["grad-cam", "occlusion"]
    assert "There was no alarm" in result.output


def test_a_film_without_an_alarm_is_recorded_and_not_checked(
    call: Call, detector_folder: Path, quiet_film: Path, tmp_path: Path
) -> None:
    result = call("trust", detector_folder, quiet_film, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    (record,) = records(tmp_path)
    assert record.evidence == ()
    assert "--all explains it nevertheless" in result.output
    assert "checks could be made" not in result.output
    assert CLAIM not in (tmp_path / "report.html").read_text()
