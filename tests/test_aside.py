"""Files written aside: whole or not at all."""

from __future__ import annotations

from pathlib import Path

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
