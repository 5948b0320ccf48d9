"""Options that several commands share mean the same in each."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from vidence.cli.compare import command as compare
from vidence.cli.evaluate import command as evaluate
from vidence.cli.options import labelled_options
from vidence.cli.recommend import command as recommend
from vidence.cli.train import _evaluate
from vidence.cli.train import command as train

LABELLED = ("root", "group", "normal", "fps")


@pytest.mark.parametrize("command", [evaluate, compare, recommend])
def test_a_labelled_set_is_named_as_for_the_training(command: click.Command) -> None:
    def said(of: click.Command) -> list[object]:
        return [option.to_info_dict() for option in of.params if option.name in LABELLED]

    assert said(command) == said(train)


def test_what_the_training_was_asked_is_what_it_says_to_evaluate_with() -> None:
    @click.command()
    @labelled_options
    def asked(**labelled: object) -> None:
        click.echo(_evaluate(Path("out"), "clips", seed=0, **labelled))  # type: ignore[arg-type]

    runner = CliRunner()
    words = ("--group", "camera", "--normal", "free,very good", "--fps", "12.5")
    assert f" {shlex.join(words)} " in runner.invoke(asked, words).output
    assert "--normal" not in runner.invoke(asked, ("--normal", "")).output, "the default"
