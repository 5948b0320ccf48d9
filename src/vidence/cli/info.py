"""``vidence info``: what there is to choose from, or what a trained detector is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("info")
@click.argument("detector", required=False, type=click.Path(path_type=Path))
def command(detector: Path | None) -> None:
    """List detectors, explainers, scores and threshold rules with their settings; or describe the folder DETECTOR.

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
    from vidence.models import DETECTORS
    from vidence.render import RENDERERS
    from vidence.scoring.scores import SCORES
    from vidence.scoring.thresholds import THRESHOLDS

    tables: dict[str, dict[str, Any]] = {
        "detectors": DETECTORS,
        "explainers": EXPLAINERS,
        "combinations": COMBINE,
        "scores": SCORES,
        "threshold rules": THRESHOLDS,
        "renderers": RENDERERS,
    }
    for name, table in tables.items():
        for i, (key, made) in enumerate(table.items()):
            about = (made.__doc__ or "").strip().split("\n")[0]
            click.echo(f"{name if i == 0 else '':16}{key:20}{about}")
            click.echo(f"{'':36}{_settings(made)}")


def _settings(made: type) -> str:
    from dataclasses import fields

    return ", ".join(f"{field.name.rstrip('_')}={field.default!r}" for field in fields(made) if field.init)


def _describe(folder: Path) -> None:
    import json

    from vidence.models.detector import load_detector
    from vidence.scoring.decisions import line_of_alarms

    detector = load_detector(folder)
    click.echo(f"detector   {detector.spec}")
    click.echo(f"weights    {detector.weights_digest}")
    click.echo(f"windows    {detector.windows}")
    for name in ("classes", "normal"):
        click.echo(f"{name:11}{', '.join(getattr(detector, name, ())) or 'none'}")
    click.echo(f"score      {line_of_alarms(detector)}")
    click.echo(f"threshold  {json.dumps(detector.threshold)}")
    click.echo(json.dumps(detector.facts, indent=2))
