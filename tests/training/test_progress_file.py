import math
from pathlib import Path

import pytest
import torch

from vidence.errors import WeightsError
from vidence.training.progress_file import Progress, read_progress, write_progress


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "progress.pt"
    progress = Progress("me", epoch=2, rows=[{"epoch": 1, "loss": math.inf}], network={"a": torch.ones(2)})
    write_progress(path, progress)
    again = read_progress(path, identity="me")
    assert again is not None
    assert (again.epoch, again.rows, again.best_loss) == (2, progress.rows, math.inf)
    assert torch.equal(again.network["a"], progress.network["a"])
    assert read_progress(tmp_path / "none.pt", identity="me") is None


def test_a_fit_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    write_progress(tmp_path / "progress.pt", Progress("me"))
    with pytest.raises(WeightsError, match="other settings, data, parts of it, seed"):
        read_progress(tmp_path / "progress.pt", identity="you")


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("held", [b"", b"text", {"epoch": 1}, [1], {"format": 99, "identity": "me"}, Evil()])
def test_a_foreign_file_is_refused(tmp_path: Path, held: object, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "progress.pt"
    if isinstance(held, bytes):
        path.write_bytes(held)
    else:
        torch.save(held, path)
    with pytest.raises(WeightsError, match="must be a fit's progress file"):
        read_progress(path, identity="me")
    assert capsys.readouterr().out == "", "nothing in the file is run"


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "progress.pt"
    write_progress(path, Progress("me", network={"a": torch.ones(100)}))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_progress(path, identity="me")
