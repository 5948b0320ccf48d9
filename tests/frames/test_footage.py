"""Which files of a folder are sources of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidence.frames.footage import videos_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("10.mp4", "2.MP4", ".hidden.mp4", "notes.txt", "scored/scores.csv", "more/3.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_the_videos_of_a_folder(folder: Path) -> None:
    assert [one.name for one in videos_at(folder)] == ["2.MP4", "10.mp4"]


def test_pictures_make_a_folder_one_clip(folder: Path) -> None:
    (folder / "1.png").touch()
    assert videos_at(folder) == []


def test_what_is_no_folder_holds_none(folder: Path) -> None:
    assert videos_at(folder / "2.MP4") == videos_at(folder / "absent") == []
