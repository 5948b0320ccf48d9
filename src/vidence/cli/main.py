"""``vidence``: the command line. One file per command, imported when called."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import click

from vidence.errors import VidenceError
from vidence.version import __version__

# In the order of the work; the text is what `vidence --help` shows without importing the command.
COMMANDS = {
    "demo": "Make a small synthetic set, train, score, explain and report: the whole way, in about four minutes.",
    "synthetic": "Write synthetic videos of a walkway: what happens, when and where is known.",
    "train": "Train a detector on a folder of class folders, a CSV or a published set.",
    "tables": "Train and measure the rows of the thesis' tables, beside its printed numbers.",
    "sweep": "Repeat the first paper's three sweeps, with seeds and explanation panels.",
    "evaluate": "Measure a detector on the test part of a labelled set, in both protocols.",
    "svdd": "Tune a detector's encoder at several rates: AUC by rate and epochs, embeddings before and after.",
    "adapt": "Adapt a trained detector to new normal footage, or undo that.",
    "score": "Score videos: a CSV row per window, a record per alarm.",
    "explain": "Show why: maps, contours, movies, contact sheets and a report.",
    "compare": "Compare explainers on clips of known truth, beside maps that look at nothing.",
    "recommend": "Choose a detector's default explainer by measurement, or say that none earned it.",
    "trust": "Explain alarms, and measure how far each picture can be trusted.",
    "report": "Write one self-contained HTML page from a store of records.",
    "review": "Confirm or override an alarm, or list those that wait for a person.",
    "erase": "Take a record's content out of a store; the chain still holds.",
    "verify": "Check that no record was altered or removed.",
    "replay": "Recompute a record's score and map from its source.",
    "info": "List detectors, explainers, scores and rules, or describe a trained detector.",
}


class Commands(click.Group):
    """Loads a command's module when it is called; prints our errors as one message."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that is asked for."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"vidence.cli.{cmd_name}").command
        command.short_help = COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, so that `vidence --help` stays fast."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one message and exit code 1, Ctrl-C says what is kept, and a
        warning is one line.
        """
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda said, *_, **__: click.echo(f"WARNING: {said}", err=True)
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            if str(stop):
                click.echo(f"\n{stop}", err=True)
            raise
        except VidenceError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="vidence")
def main() -> None:
    """Find anomalies in video and images, and show the evidence.

    \b
    A first look, nothing needed:      vidence demo --out demo-out
    Your own clips in class folders:   vidence train CLIPS --detector cnn-rnn --out detector
    Score a video, explain its alarms: vidence explain VIDEO --detector detector --out why
    """
