"""A folder's versions: bytes come back, step by step; whatever breaks leaves the folder as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vidence.errors import DataError, OutputError
from vidence.training.versions import kept_versions, replace_version, undo


def held(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def writing(text: str) -> Callable[[Path], None]:
    def save(place: Path) -> None:
        (place / "detector.json").write_text(f"facts of {text}")
        (place / "model.safetensors").write_bytes(text.encode() * 100)

    return save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writing("one")(tmp_path)
    (tmp_path / "log.csv").write_text("epoch")
    return tmp_path


def test_versions_are_undone_one_by_one(folder: Path) -> None:
    first = held(folder)
    replace_version(folder, writing("two"))
    second = held(folder)
    assert second["model.safetensors"] == b"two" * 100
    assert second["log.csv"] == b"epoch"
    assert second["previous/1/detector.json"] == b"facts of one"
    replace_version(folder, writing("three"))
    assert [path.name for path in kept_versions(folder)] == ["1", "2"]
    undo(folder)
    assert held(folder) == second
    undo(folder)
    assert held(folder) == first
    assert not (folder / "previous").exists()
    with pytest.raises(DataError, match="previous version"):
        undo(folder)


def test_the_tenth_version_comes_after_the_ninth(folder: Path) -> None:
    for number in range(11):
        replace_version(folder, writing(f"version {number}"))
    undo(folder)
    assert held(folder)["detector.json"] == b"facts of version 9"


def test_an_error_while_saving_leaves_all_as_it_was(folder: Path) -> None:
    before = held(folder)

    def failing(place: Path) -> None:
        writing("half")(place)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_version(folder, failing)
    assert held(folder) == before
    assert {path.name for path in folder.iterdir()} == {"detector.json", "model.safetensors", "log.csv"}


def test_an_error_between_the_two_files_leaves_all_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, swap, failures = held(folder), os.replace, [28]

    def failing(source: Path, target: Path) -> None:
        if Path(target) == folder / "detector.json" and failures:
            assert (folder / "model.safetensors").read_bytes().startswith(b"two")  # the first file is replaced
            raise OSError(failures.pop(), "No space left on device")
        swap(source, target)

    monkeypatch.setattr("vidence.training.versions.os.replace", failing)
    with pytest.raises(OutputError, match="No space"):
        replace_version(folder, writing("two"))
    assert held(folder) == before


def test_a_power_failure_between_the_two_files_can_be_undone(folder: Path) -> None:
    before = held(folder)
    replace_version(folder, writing("two"))
    (folder / "detector.json").write_text("facts of one")  # as if its turn had not come
    undo(folder)
    assert held(folder) == before


def test_a_replacement_that_never_began_is_not_a_step(folder: Path) -> None:
    before = held(folder)
    replace_version(folder, writing("two"))
    kept = folder / "previous" / "2"
    kept.mkdir()
    writing("two")(kept)  # kept, then cut off
    undo(folder)
    assert held(folder) == before


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="written to"):
        replace_version(tmp_path / "absent", writing("one"))
