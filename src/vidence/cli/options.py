"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

detector_option = click.option(
    "--detector", required=True, type=click.Path(path_type=Path), help="Folder that `vidence train` wrote."
)
out_option = click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results."
)
score_option = click.option(
    "--score",
    metavar="SPEC",
    help="What is explained, such as contrast [default: a classifier's logit, else what the alarms are made of].",
)
threshold_option = click.option(
    "--threshold", type=float, metavar="NUMBER", help="Alarm above this score [default: the detector's own]."
)
explainer_option = click.option(
    "--explainer", "lines", multiple=True, metavar="SPEC", help="May be repeated [default: the detector's own]."
)
key_option = click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=lambda _, __, file: None if file is None else file.read_bytes(),  # never the key itself: others see it
    help="File with the signing key, 16 bytes at least: rows are signed with it, and checked by it.",
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where networks compute; auto: on a GPU if there is one.",
)
fps_option = click.option("--fps", type=float, help="Frame rate of a folder of frames, which has no times of its own.")


def labelled_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which labelled set is meant: where a published one lies, and what nobody knows of own data but its owner."""
    for option in (
        fps_option,
        click.option(
            "--normal",
            metavar="CLASS[,...]",
            callback=lambda _, __, names: names.split(",") if names else None,
            help="The normal classes of own data [default: normal, no..., good or free].",
        ),
        click.option("--group", metavar="COLUMN", help="CSV column whose values stay on one side of every split."),
        click.option("--root", type=click.Path(path_type=Path), help="Folder of a published set."),
    ):
        command = option(command)
    return command


def comparing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which maps of which clips of a labelled set are compared."""
    for option in (
        device_option,
        click.option("--all", "whole", is_flag=True, help="Draw from every sample, of a set that was not trained on."),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of the clips and of all draws."),
        click.option("--clips", type=click.IntRange(min=1), default=40, show_default=True, help="How many clips."),
        score_option,
        click.option(
            "--explainer",
            "lines",
            multiple=True,
            metavar="SPEC",
            help="May be repeated [default: of the network's kind].",
        ),
    ):
        command = option(command)
    return labelled_options(command)


def explaining_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which score of which windows is explained, and what signs the records."""
    for option in (
        key_option,
        device_option,
        fps_option,
        click.option("--all", "everything", is_flag=True, help="Explain every window."),
        click.option("--to", "last_s", type=float, metavar="SECONDS", help="Explain up to here, alarm or not."),
        click.option("--from", "first_s", type=float, metavar="SECONDS", help="Explain from here on, alarm or not."),
        threshold_option,
        score_option,
    ):
        command = option(command)
    return command


def tuning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a command that tunes an encoder asks for; None means what the detector's recipe says."""
    for option in (
        click.option(
            "--norm", type=click.Choice(["frozen", "drifting"]), help="Of batch norm [default: the recipe's]."
        ),
        click.option("--centre", type=click.Choice(["mean", "off-zero", "zero"]), help="[default: mean]"),
        click.option("--nu", type=float, help="Share outside the soft boundary [default: 0.01]."),
        click.option("--objective", type=click.Choice(["one-class", "soft-boundary"]), help="[default: the recipe's]"),
        click.option(
            "--scope", type=click.Choice(["last", "encoder"]), help="The layers tuned [default: the recipe's]."
        ),
    ):
        command = option(command)
    return command
