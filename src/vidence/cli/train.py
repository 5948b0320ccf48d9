"""``vidence train``: a folder of class folders, or a CSV, to a detector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vidence.datasets.dataset import Sample
    from vidence.frames.source import Source
    from vidence.models.cnn_rnn import CnnRnnDetector
    from vidence.scoring.thresholds import ThresholdRule


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--detector", "line", required=True, metavar="SPEC", help="Detector and settings, such as cnn-rnn.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write the detector to.")
@click.option("--weights", type=click.Path(path_type=Path), help="The backbone's published weights (file or folder).")
@click.option("--group", metavar="COLUMN", help="CSV column whose values stay on one side of every split.")
@click.option("--normal", metavar="CLASS[,...]", help="The normal classes [default: normal, no..., good or free].")
@click.option("--threshold", "rule", metavar="SPEC", help="Threshold rule, fitted on validation [default: best-f1].")
@click.option(
    "--footage",
    multiple=True,
    metavar="SOURCE",
    help="Normal footage to fit --threshold on instead of validation clips; may be repeated.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of split, start and order.")
@click.option("--epochs", type=click.IntRange(1), help="Most epochs [default: the schedule's].")
@click.option("--resume", is_flag=True, help="Go on where a stopped training left off.")
@click.option("--film", is_flag=True, help="Film filters and activation maps epoch by epoch (fine-tuning only).")
def command(
    data: Path,
    line: str,
    out: Path,
    weights: Path | None,
    group: str | None,
    normal: str | None,
    rule: str | None,
    footage: tuple[str, ...],
    seed: int,
    epochs: int | None,
    resume: bool,
    film: bool,
) -> None:
    """Train a detector on DATA, and measure it on a held-out part.

    DATA is a folder of class folders with videos (or images) in them, or a CSV with the columns file,label whose
    paths start at the CSV's own folder. Clips of one camera or film belong on one side of the split: name their
    column with --group. The anomaly score is 1 - P(normal).

    \b
    vidence train clips --detector cnn-rnn --weights mobilenet --out detector
    vidence train clips.csv --group source_video --detector "cnn-rnn(units=128)" --out detector
    vidence train clips --detector cnn-rnn --out detector \\
      --threshold "false-alarm-budget(per_hour=1)" --footage monday.mp4 --footage tuesday.mp4
    """
    from vidence import spec
    from vidence.datasets.folder import normal_classes, read_folder, split
    from vidence.evaluate.held_out import measure
    from vidence.models import DETECTORS
    from vidence.render.movie import write_movie
    from vidence.scoring.run import judge
    from vidence.scoring.thresholds import THRESHOLDS
    from vidence.training.fit import fit

    settings = spec.build(line, DETECTORS)
    chosen = spec.build(rule, THRESHOLDS) if rule else None
    films = _films(footage, chosen)
    samples = read_folder(data, group=group)
    classes = sorted({sample.label for sample in samples})
    parts = split(samples, seed=seed)
    detector = fit(
        settings,
        parts["train"],
        parts["val"],
        classes=classes,
        normal=normal_classes(classes, normal.split(",") if normal else None),
        out=out,
        weights=weights,
        seed=seed,
        epochs=epochs,
        resume=resume,
        film=write_movie if film else None,
        rule=chosen,
    )
    if chosen is not None and films:
        curves = [judge(detector, film, threshold=math.inf).curve for film in films]
        detector.threshold = chosen.fit(curves, line=rule or "").facts()
    figures = measure(detector, parts["test"], out=out)
    _tell(detector, parts, figures, out)


def _tell(
    detector: CnnRnnDetector, parts: Mapping[str, Sequence[Sample]], figures: Mapping[str, float], out: Path
) -> None:
    """Print what was made and how well it does."""
    click.echo(f"detector   {detector.spec}")
    click.echo(f"classes    {', '.join(detector.classes)}; normal: {', '.join(detector.normal)}")
    click.echo(f"clips      {', '.join(f'{name} {len(part)}' for name, part in parts.items())}")
    click.echo(f"held out   {', '.join(f'{name} {value:.3f}' for name, value in figures.items())}")
    if detector.threshold is not None:
        click.echo(f"threshold  {detector.threshold['value']:.4g}: {detector.threshold['origin']}")
    click.echo(f"written    {out}  (log.csv, curve.png, detector.json, model.safetensors)")


def _films(names: Sequence[str], rule: ThresholdRule | None) -> list[Source]:
    """Open the normal footage before the training starts: what is wrong with it is told now."""
    from vidence.frames.source import open_source

    if names and (rule is None or rule.needs_labels):
        raise click.UsageError("--footage needs a --threshold rule that takes no labels, such as false-alarm-budget.")
    return [open_source(name) for name in names]
