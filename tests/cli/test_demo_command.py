"""`vidence demo`: the steps that it takes, without the work behind them (`tests/test_docs.py` runs it whole)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from vidence.cli import demo
from vidence.cli.truth import Cases


@pytest.mark.parametrize("stopped", [False, True], ids=["new", "stopped"])
def test_each_step_is_typed_and_timed_and_a_stopped_training_goes_on(
    call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    steps: list[tuple[str, ...]] = []

    class Module:
        def __init__(self, name: str) -> None:
            self.name = name.rpartition(".")[2]

        @property
        def command(self) -> click.Command:
            many = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
            context = {"ignore_unknown_options": True}
            return click.Command(
                self.name,
                params=[many],
                context_settings=context,
                callback=lambda words: steps.append((self.name, *words)),
            )

    for name, small in (("CLIPS", 1), ("SCENES", 1), ("import_module", Module)):
        monkeypatch.setattr(demo, name, small)
    monkeypatch.setattr("vidence.cli.truth.compared", lambda *_: Cases([]))
    if stopped:
        (tmp_path / "detector").mkdir()
        (tmp_path / "detector" / "progress.pt").touch()
    done = call("demo", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert [words[0] for words in steps] == ["train", "score", "report", "verify"]
    assert ("--resume" in steps[0]) == stopped
    assert done.output.count("$ vidence ") == done.output.count("(0 s)") == 4
