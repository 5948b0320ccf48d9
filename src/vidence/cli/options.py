"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path

import click

detector_option = click.option(
    "--detector", required=True, type=click.Path(path_type=Path), help="Folder that `vidence train` wrote."
)
out_option = click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the results."
)
score_option = click.option(
    "--score", default="logit", show_default=True, metavar="SPEC", help="What is explained, such as contrast."
)
threshold_option = click.option(
    "--threshold", type=float, metavar="NUMBER", help="Alarm above this score [default: the detector's own]."
)
fps_option = click.option("--fps", type=float, help="Frame rate of a folder of frames, which has no times of its own.")
