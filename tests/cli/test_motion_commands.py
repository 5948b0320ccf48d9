"""`vidence train`, `explain` and `adapt` with a detector that has no network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moving_square import film
from vidence.cli.main import main
from vidence.models import load_detector

LINE = "motion-attributes(coreset=300, neighbours=2)"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("motion")
    (place / "films").mkdir()
    rows = [f"films/{film(place / 'films' / f'{k}.mp4', speed=1 + 0.1 * k, seed=k).name},normal" for k in range(4)]
    (place / "films.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    done = run("train", place / "films.csv", "--detector", LINE, "--out", place / "detector")
    assert done.exit_code == 0, done.output
    assert "its score, which is final, at most 5 frames later" in done.output
    assert re.search(r"alarms     [1-9]\d* in \d+ s of normal footage .*; for fewer, .*false-alarm-budget", done.output)
    return place


def test_explain_needs_no_explainer_and_takes_no_other(trained: Path, tmp_path: Path) -> None:
    rush = film(tmp_path / "rush.mp4", speed=1.0, seed=9, fast=4.0)
    done = run("explain", rush, "--detector", trained / "detector", "--out", tmp_path / "why")
    assert done.exit_code == 0, done.output
    assert "times the highest ever seen here" in (tmp_path / "why" / "report.html").read_text()
    assert run("score", rush, "--detector", trained / "detector", "--out", tmp_path / "scored").exit_code == 0
    refused = run("explain", rush, "--detector", trained / "detector", "--explainer", "rise", "--out", tmp_path / "no")
    assert refused.exit_code != 0
    assert "own evidence" in refused.output


def test_adapt_learns_tells_the_drift_and_goes_back(trained: Path, tmp_path: Path) -> None:
    folder = trained / "detector"
    before = load_detector(folder).weights_digest
    for k in range(2):
        film(tmp_path / f"{k}.mp4", speed=3, seed=k)
    done = run("adapt", folder, "--normal", tmp_path)
    assert done.exit_code == 0, done.output
    assert "drift" in done.output
    assert load_detector(folder).weights_digest != before
    assert run("adapt", folder, "--undo").exit_code == 0
    assert load_detector(folder).weights_digest == before
    assert run("adapt", folder, "--normal", tmp_path, "--epochs", 3).exit_code == 2


def test_what_epochs_are_for_is_said(trained: Path, tmp_path: Path) -> None:
    done = run("train", trained / "films.csv", "--detector", LINE, "--epochs", 3, "--out", tmp_path / "detector")
    assert done.exit_code == 2
    assert "one pass" in done.output


def test_what_compares_explainers_of_a_network_says_that_there_is_none(trained: Path, tmp_path: Path) -> None:
    rush = film(tmp_path / "rush.mp4", speed=1.0, seed=9, fast=4.0)
    (tmp_path / "set.csv").write_text(f"file,label\n{rush.name},rush\n../{trained.name}/films/0.mp4,normal\n")
    for words in (("compare", "set.csv"), ("recommend", "set.csv"), ("trust", "rush.mp4")):
        done = run(words[0], trained / "detector", tmp_path / words[1], "--out", tmp_path / "out")
        assert done.exit_code != 0
        assert "own evidence is its explanation" in done.output, done.output
        assert "Traceback" not in done.output
