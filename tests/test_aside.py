"""Files written aside: whole or not at all."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from vidence.aside import written_aside
from vidence.errors import OutputError, SourceError


def test_a_file_takes_its_name_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with written_aside(path) as aside:
        aside.write_text("a,b\n")
        assert not path.exists()
        assert aside.suffix == ".csv"
    assert path.read_text() == "a,b\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SourceError])
def test_after_an_error_the_old_file_is_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write() -> None:
        with written_aside(path) as aside:
            aside.write_text("half")
            raise error("stop")

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_refusing_disk_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    def write() -> None:
        with written_aside(tmp_path / "file" / "inside.txt") as aside:
            aside.write_text("x")

    with pytest.raises(OutputError, match="must be writable"):
        write()


def test_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path, both = tmp_path / "table.csv", Barrier(2)

    def write(text: str) -> None:
        with written_aside(path) as aside:
            aside.write_text(text)
            both.wait(10)  # both are written, neither is renamed

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, ("one", "two")))
    assert path.read_text() in ("one", "two")
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_about_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="lost"), written_aside(tmp_path / "table.csv") as aside:  # noqa: PT012
        aside.write_text("half")
        (tmp_path / "lost").read_text()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, None])
def test_a_full_disk_names_no_file_and_is_an_output_error(tmp_path: Path, number: int | None) -> None:
    with (
        pytest.raises(OutputError, match=r"table\.csv must be writable; got .*full"),
        written_aside(tmp_path / "table.csv"),
    ):
        raise OSError(number, "it is full")
