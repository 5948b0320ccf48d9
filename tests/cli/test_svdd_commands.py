"""`svdd` and `adapt` as a user calls them, on a detector that was not trained."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from vidence.models import load_detector

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def untrained(tiny_autoencoder: type[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny_autoencoder().build().save(folder)
    return folder


@pytest.fixture
def folder(untrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained, tmp_path / "detector"))


def held(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_adapt_and_undo(call: Call, folder: Path, tiny_ped2: Path) -> None:
    before = held(folder)
    clips, ped2 = tiny_ped2 / "train", ("ucsd-ped2", "--root", tiny_ped2)
    done = call("adapt", folder, "--normal", clips, "--test", *ped2, "--rate", 1e-4, "--epochs", 1, "--old", clips)
    assert done.exit_code == 0, done.output
    assert re.search(r"new AUC    [01]\.\d{3} before, [01]\.\d{3} after", done.output)
    assert "old errors" in done.output
    assert "undo" in done.output
    after = held(folder)
    assert {name: after[f"previous/1/{name}"] for name in before} == before
    facts = json.loads(after["detector.json"])
    assert facts["detector"] == "tiny(svdd='tuned')"
    assert facts["facts"]["history"][0]["old"]
    assert load_detector(folder).threshold is not None
    done = call("adapt", folder, "--undo")
    assert done.exit_code == 0, done.output
    assert held(folder) == before
    done = call("adapt", folder, "--undo")
    assert done.exit_code == 1
    assert "previous version" in done.output


def test_adapt_on_one_film_with_an_old_set(call: Call, folder: Path, tiny_ped2: Path, quiet_film: Path) -> None:
    old = ("--old", "ucsd-ped2", "--old-root", tiny_ped2)
    done = call("adapt", folder, "--normal", quiet_film, *old, "--epochs", 1, "--scope", "last")
    assert done.exit_code == 0, done.output
    assert re.search(r"old AUC    [01]\.\d{3} before, [01]\.\d{3} after", done.output)
    assert "new errors" in done.output


def test_an_old_folder_of_classes_is_measured_on(call: Call, folder: Path, tiny_ped2: Path, tmp_path: Path) -> None:
    for label, part in (("normal", "train"), ("fight", "test")):
        shutil.copytree(tiny_ped2 / part, tmp_path / "own" / label)
    (tmp_path / "own" / "fight" / "Test004.mp4").unlink()  # nothing happens in it
    asked = ("--normal", tiny_ped2 / "train", "--old", tmp_path / "own", "--epochs", 1, "--scope", "last")
    done = call("adapt", folder, *asked)
    assert done.exit_code == 0, done.output
    assert re.search(r"old AUC    [01]\.\d{3} before, [01]\.\d{3} after", done.output)


def test_a_failing_adapt_changes_nothing(call: Call, folder: Path, tiny_ped2: Path, tmp_path: Path) -> None:
    before = held(folder)
    (tmp_path / "own.csv").write_text(f"file,label\n{tiny_ped2}/test/absent.mp4,fight\n")
    done = call("adapt", folder, "--normal", tiny_ped2 / "train", "--epochs", 1, "--test", tmp_path / "own.csv")
    assert done.exit_code == 1
    assert held(folder) == before
    done = call("adapt", folder)
    assert done.exit_code == 2
    assert "--normal" in done.output


def test_samples_that_are_learned_from_are_not_tested_on(
    call: Call, folder: Path, tiny_ped2: Path, tmp_path: Path
) -> None:
    rows = [f"{tiny_ped2}/train/Train00{number}.mp4,normal" for number in (1, 2)]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["file,label", *rows, f"{tiny_ped2}/test/Test003.mp4,fight"]))
    done = call("adapt", folder, "--normal", table, "--epochs", 1, "--test", table)
    assert done.exit_code == 0, done.output
    assert "new AUC    - before" in done.output  # nothing normal is left to tell apart


def test_what_is_learned_of_a_published_test_part_is_not_tested_on(
    call: Call, folder: Path, tiny_ped2: Path, tmp_path: Path
) -> None:
    """What is left is anomalous throughout, so there is nothing to tell apart."""
    own = tmp_path / "new"
    own.mkdir()
    for number in (1, 2, 4):
        (own / f"{number}.mp4").symlink_to(tiny_ped2 / "test" / f"Test00{number}.mp4")
    done = call("adapt", folder, "--normal", own, "--epochs", 1, "--test", "ucsd-ped2", "--root", tiny_ped2)
    assert done.exit_code == 0, done.output
    assert "new AUC    - before" in done.output


def test_the_ablation(call: Call, untrained: Path, tiny_ped2: Path, tmp_path: Path) -> None:
    options = ("--root", tiny_ped2, "--rates", "1e-7,1e-5", "--epochs", "2,1", "--scope", "last", "--out", tmp_path)
    done = call("svdd", untrained, "ucsd-ped2", *options)
    assert done.exit_code == 0, done.output
    with (tmp_path / "ablation.csv").open() as file:
        found = [(float(row["rate"]), int(row["epochs"])) for row in csv.DictReader(file)]
    assert found == [(0, 0), (1e-7, 1), (1e-7, 2), (1e-5, 1), (1e-5, 2)]
    assert all((tmp_path / name).exists() for name in ("heatmap.png", "pca.png", "activations.png"))
    assert "test AUC took no part in it" in done.output
    kept = "chooses the detector as it is" in done.output
    assert kept or load_detector(tmp_path / "detector").spec == "tiny(svdd='tuned')"
    for wrong in (("--rates", "fast"), ("--epochs", "0,1")):
        done = call("svdd", untrained, "ucsd-ped2", "--root", tiny_ped2, "--out", tmp_path, *wrong)
        assert done.exit_code == 2, done.output


def test_a_classifier_is_refused(call: Call, detector_folder: Path, tiny_ped2: Path, tmp_path: Path) -> None:
    done = call("svdd", detector_folder, "ucsd-ped2", "--root", tiny_ped2, "--out", tmp_path)
    assert done.exit_code == 1
    assert "this one is cnn-rnn" in done.output
