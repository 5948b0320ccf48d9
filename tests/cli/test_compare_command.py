"""``vidence compare`` from a detector's folder and a set to its tables, page and pictures, and on from where it was."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from vidence.models.detector import load_detector
from vidence.models.trivial import PreviousFrame

Call = Callable[..., Result]
ASKED = ("--measure", "mass-ratio", "--measure", "strongest-frame", "--clips", 4, "--all")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(classifier: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("compared") / "detector"
    classifier.save(made)
    return made


@pytest.fixture(scope="module")
def compared(call: Call, folder: Path, marked_set: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("compared") / "out"
    done = call("compare", folder, marked_set.path, *ASKED, *_lines("gradient", "cam"), "--out", out)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def _lines(*lines: str) -> tuple[str, ...]:
    return tuple(word for line in lines for word in ("--explainer", line))


def test_everything_is_written(compared: tuple[Path, str]) -> None:
    out, said = compared
    rows = table(out / "measures.csv")
    assert len(rows) == 4 * 2 * (2 + 3)
    assert {row["explainer"] for row in rows if row["control"] == "1"} == {
        "random-map", "centre-map", "frame-difference",
    }  # fmt: skip
    standings = {(row["measure"], row["explainer"]): row for row in table(out / "leaderboard.csv")}
    held = [float(row["value"]) for row in rows if (row["explainer"], row["measure"]) == ("gradient", "mass-ratio")
            and row["value"]]  # fmt: skip
    assert float(standings["mass-ratio", "gradient"]["mean"]) == pytest.approx(sum(held) / len(held), rel=1e-4)
    assert standings["mass-ratio", "gradient"]["beats random-map"] in ("yes", "no", "unclear")
    assert "a CAM needs" in standings["mass-ratio", "cam"]["refused"]
    assert "(random-map)" in said
    facts = json.loads((out / "comparison.json").read_text())
    assert facts["measures"]["mass-ratio"]["aspect"] == "localisation"
    assert (facts["clips"], facts["clips_with_event"]) == (4, 3)
    page = (out / "comparison.html").read_text()
    assert page.count("<figcaption>the clip</figcaption>") == len(facts["examples"]) == 3
    assert page.count("data:image/jpeg") == 3 * (2 + 1 + 3)


def test_the_same_command_adds_what_is_missing(
    call: Call, folder: Path, marked_set: Any, compared: tuple[Path, str]
) -> None:
    out, _ = compared
    before = (out / "measures.csv").read_text()
    again = call("compare", folder, marked_set.path, *ASKED, *_lines("gradient", "cam"), "--out", out)
    assert again.exit_code == 0, again.output
    assert (out / "measures.csv").read_text() == before
    more = call("compare", folder, marked_set.path, *ASKED, *_lines("gradient", "grad-cam", "layer-cam"), "--out", out)
    assert more.exit_code == 0, more.output
    added = (out / "measures.csv").read_text().removeprefix(before).splitlines()
    assert len(added) == 4 * 2 * 2
    kinds = {row["kind"] for row in table(out / "agreement.csv")}
    assert {"maps", "clips"} <= kinds
    assert {row["explainer"] for row in table(out / "leaderboard.csv") if row["control"] == "0"} == {
        "gradient", "grad-cam", "layer-cam",
    }  # fmt: skip


def test_an_autoencoder_stands_beside_its_residual(call: Call, tiny_ped2: Path, tmp_path: Path) -> None:
    PreviousFrame(channels=1, size=32, length=5, smooth=1).build().save(tmp_path / "detector")
    done = call(
        "compare", tmp_path / "detector", "ucsd-ped2", "--root", tiny_ped2, *ASKED[:-1], *_lines("gradient"),
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = table(tmp_path / "out" / "leaderboard.csv")
    held = {row["explainer"]: row["mean"] for row in rows if row["measure"] == "mass-ratio"}
    assert {"residual", "gradient", "random-map"} <= set(held)
    assert float(held["residual"]) > 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [(("--measure", "mass"), "unknown key 'mass'"), (("--explainer", "grad-kam"), "unknown key 'grad-kam'")],
)
def test_a_wrong_line_is_refused(
    call: Call, folder: Path, marked_set: Any, tmp_path: Path, asked: tuple[str, ...], said: str
) -> None:
    done = call("compare", folder, marked_set.path, *asked, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_a_detector_without_a_network_says_so(
    call: Call, folder: Path, tiny_ped2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector(folder)
    monkeypatch.setattr(detector, "network", None)
    monkeypatch.setattr("vidence.cli.comparing.load_deployed", lambda place, **given: detector)
    done = call("compare", folder, "ucsd-ped2", "--root", tiny_ped2, *ASKED[:-1], "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "has none" in done.output
    assert not (tmp_path / "out").exists()
