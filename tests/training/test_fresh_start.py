"""A training that starts anew: what goes, what comes back, and what there is to go on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidence.training.fresh_start import LEFT, started_anew, unfinished

FORMER = {
    "detector.json": "former",
    "log.csv": "former",
    "members/0/progress.pt": "former",
    "previous/1/model.safetensors": "older",
    "cache/frames": "any training's",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FORMER.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def held(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def train_until(stop: BaseException, folder: Path, *written: str) -> None:
    with started_anew(folder):
        for name in written:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("new")
        raise stop


def test_an_epoch_of_any_member_is_something_to_go_on_from(tmp_path: Path) -> None:
    assert not unfinished(tmp_path)
    place = tmp_path / "members" / "learned" / "members" / "1"
    place.mkdir(parents=True)
    assert not unfinished(tmp_path)
    (place / "progress.pt").touch()
    assert unfinished(tmp_path)
    (tmp_path / "progress.pt").touch()
    assert unfinished(tmp_path)


def test_nothing_of_the_former_training_is_left(folder: Path) -> None:
    with started_anew(folder):
        assert not any((folder / name).exists() for name in LEFT)
        (folder / "detector.json").write_text("new")
    assert held(folder) == {"detector.json": "new", "cache/frames": "any training's"}


def test_what_fails_at_the_start_loses_nothing(folder: Path) -> None:
    with pytest.raises(ValueError, match="bad input"):
        train_until(ValueError("bad input"), folder, "detector.json", "curve.png", "members/motion/detector.json")
    assert held(folder) == FORMER


def test_what_is_stopped_later_can_be_gone_on_with(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_until(KeyboardInterrupt(), folder, "progress.pt")
    assert held(folder) == {"progress.pt": "new", "cache/frames": "any training's"}


def test_an_empty_or_absent_folder_stays_as_it_is(tmp_path: Path) -> None:
    with started_anew(tmp_path / "absent"):
        pass
    assert not (tmp_path / "absent").exists()
