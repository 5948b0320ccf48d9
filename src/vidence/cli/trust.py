"""``vidence trust``: how far can the picture of each alarm be trusted?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidence.cli.options import explaining_options, out_option


@click.command("trust")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@out_option
@click.option(
    "--explainer",
    "lines",
    multiple=True,
    metavar="SPEC",
    help="May be repeated; another family's is added where all are of one [default: the detector's own].",
)
@explaining_options
def command(
    detector: Path, sources: tuple[str, ...], lines: tuple[str, ...], score: str | None, device: str, **asked: Any
) -> None:
    """Explain the alarms of each SOURCE by two ways at least, and measure how far each picture can be trusted.

    Writes what `vidence explain` writes. Per alarm and explainer, record and report also say how much of the score the
    marked region carries beside a random region of that size, whether the score follows the map's order, whether the
    map depends on what the model learnt, whether another family of explainers agrees, and whether the map comes out
    again. Measured on the window that decided, at the price of several more maps of it.

    \b
    vidence trust detector street.mp4 --out why
    vidence trust detector street.mp4 --explainer when-where --explainer "rise(n=200)" --out why
    """
    from vidence.cli.explaining import explain_all
    from vidence.evaluate.explainer_kinds import with_another_kind
    from vidence.evaluate.trusting import checkable, short_checks
    from vidence.models.detector import load_deployed
    from vidence.pipeline import default_line
    from vidence.training.allocator import blocks_kept

    model = load_deployed(detector, device=device)
    checkable(model)
    own = default_line(model, score)
    given = with_another_kind(lines or (own,), own)
    with blocks_kept():
        explain_all(sources, model, detector, given, score=score, check=short_checks, **asked)
