"""``vidence info``: what there is to choose from, or what a trained detector is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click


@click.command("info")
@click.argument("detector", required=False, type=click.Path(path_type=Path))
def command(detector: Path | None) -> None:
    """List detectors, explainers, measures, scores and rules with their settings; or describe the folder DETECTOR.

    \b
    vidence info
    vidence info demo-out/detector
    """
    if detector is None:
        _list()
    else:
        _describe(detector)


def _list() -> None:
    from vidence.attribution import COMBINE, EXPLAINERS
    from vidence.evaluate import MEASURES
    from vidence.models import DETECTORS
    from vidence.render import RENDERERS
    from vidence.scoring.scores import SCORES
    from vidence.scoring.thresholds import THRESHOLDS

    tables: dict[str, dict[str, Any]] = {
        "detectors": DETECTORS,
        "explainers": EXPLAINERS,
        "combinations": COMBINE,
        "measures": MEASURES,
        "scores": SCORES,
        "threshold rules": THRESHOLDS,
        "renderers": RENDERERS,
    }
    column = max(len(key) for table in tables.values() for key in table) + 2
    for name, table in tables.items():
        for i, (key, made) in enumerate(table.items()):
            click.echo(_beside(f"{name if i == 0 else '':16}{key:{column}}", _sentence(made)))
            click.echo(_beside(" " * (16 + column), _settings(made)))


def _beside(left: str, text: str) -> str:
    """A text in lines of its own column."""
    from textwrap import fill

    wide = max(100, shutil.get_terminal_size((120, 1)).columns)
    return fill(
        text,
        wide,
        initial_indent=left,
        subsequent_indent=" " * len(left),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sentence(made: type) -> str:
    """The first sentence of what a class says of itself."""
    import re

    text = " ".join((made.__doc__ or "").split())
    found = re.match(r".*?\.(?=\s+[A-Z`]|$)", text)
    return found.group() if found else text


def _settings(made: type) -> str:
    from dataclasses import MISSING, fields

    parts = []
    for field in fields(made):
        if not field.init:
            continue
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        parts.append(f"{field.name.rstrip('_')}{' (needed)' if default is MISSING else f'={default!r}'}")
    return ", ".join(parts)


def _describe(folder: Path) -> None:
    import json

    from vidence.models.detector import load_detector, recommended_line
    from vidence.scoring.decisions import line_of_alarms

    detector = load_detector(folder)
    click.echo(f"detector   {detector.spec}")
    click.echo(f"weights    {detector.weights_digest}")
    click.echo(f"windows    {detector.windows}")
    for name in ("classes", "normal"):
        click.echo(f"{name:11}{', '.join(getattr(detector, name, ())) or 'none'}")
    click.echo(f"score      {line_of_alarms(detector)}")
    click.echo(f"threshold  {json.dumps(detector.threshold)}")
    if (line := recommended_line(detector)) is not None:
        click.echo(f"explainer  {line}, as `vidence recommend` found: see recommended_explainer below")
    click.echo(json.dumps(detector.facts, indent=2))
