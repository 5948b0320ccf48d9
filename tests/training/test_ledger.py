from pathlib import Path

import pytest

from vidence.errors import DataError
from vidence.training.ledger import Ledger, run_key


def test_rows_survive_and_keep_their_kinds(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    Ledger(path).add("a", {"seed": 1, "auc": 0.5, "name": "x"})
    held = Ledger(path)
    held.add("b", {"seed": 2, "auc": 0.25, "extra": "y"})
    again = Ledger(path)
    assert list(again.rows) == ["a", "b"]
    assert again["a"] == {"seed": 1, "auc": 0.5, "name": "x", "extra": ""}
    assert again["b"] == {"seed": 2, "auc": 0.25, "name": "", "extra": "y"}
    assert "a" in again
    assert "c" not in again
    assert [row["seed"] for row in again] == [1, 2]


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="column 'run'"):
        Ledger(path)


def test_a_failed_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "runs.csv")
    ledger.add("a", {"seed": 1})
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        ledger.add("b", {"seed": 2})
    monkeypatch.undo()
    assert "b" not in ledger
    assert list(Ledger(ledger.path).rows) == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["runs.csv"]


def test_the_key_does_not_depend_on_order() -> None:
    assert run_key({"a": 1, "b": [2]}) == run_key({"b": [2], "a": 1}) != run_key({"a": 1, "b": [3]})
