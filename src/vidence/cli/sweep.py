"""``vidence sweep``: the first paper's three sweeps, with seeds, panels of maps, and what exceeds the noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vidence.datasets.dataset import Sample
    from vidence.frames.clip import Clip
    from vidence.frames.windows import Windows
    from vidence.models.cnn_rnn import CnnRnn
    from vidence.training.schedule import Schedule
    from vidence.training.workbench import Workbench

PANEL_CLIPS = 3


@click.command("sweep")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for tables, plots and panels.")
@click.option("--over", multiple=True, type=click.Choice(["units", "dropout", "blocks"]), help="[default: all three]")
@click.option("--detector", "line", default="cnn-rnn", show_default=True, metavar="SPEC", help="What is swept.")
@click.option("--weights", type=click.Path(path_type=Path), help="The backbone's published weights (file or folder).")
@click.option("--group", metavar="COLUMN", help="CSV column whose values stay on one side of every split.")
@click.option("--normal", metavar="CLASS[,...]", help="The normal classes [default: normal, no..., good or free].")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(3), help="Seeds a point.")
@click.option("--epochs", type=click.IntRange(1), help="Most epochs a point [default: the schedule's].")
def command(
    data: Path,
    out: Path,
    over: tuple[str, ...],
    line: str,
    weights: Path | None,
    group: str | None,
    normal: str | None,
    seeds: int,
    epochs: int | None,
) -> None:
    """Repeat the sweeps of Poirier's paper on DATA: recurrent units 8..2048, dropout 0..75 %, dense blocks 2..4.

    Each point is trained under the same seeds and splits, so that settings are compared in pairs; the text says which
    differences exceed the noise. Each point also draws Grad-CAM and when-where of the same clips, one panel per sweep.
    A stopped sweep goes on where it was when the command is given again.

    \b
    vidence sweep clips.csv --group source_video --weights mobilenet --out sweeps
    vidence sweep clips --over units --seeds 5 --out sweeps
    """
    from dataclasses import replace

    from vidence import spec
    from vidence.datasets.folder import normal_classes, read_folder
    from vidence.models import DETECTORS
    from vidence.models.cnn_rnn import CnnRnn
    from vidence.training.schedule import schedule_for
    from vidence.training.sweep import SWEEPS
    from vidence.training.workbench import Workbench

    asked = spec.build(line, DETECTORS)
    if not isinstance(asked, CnnRnn):
        raise click.UsageError(f"a sweep varies settings of cnn-rnn alone; got {line!r}.")
    settings = asked.resolved(weights is not None)
    samples = read_folder(data, group=group)
    classes = tuple(sorted({sample.label for sample in samples}))
    usual = normal_classes(classes, normal.split(",") if normal else None)
    bench = Workbench(classes, usual, weights, out / "cache", bar=True)
    schedule = schedule_for(settings)
    schedule = schedule if epochs is None else replace(schedule, epochs=epochs)
    clips = _shown(samples, bench.build(settings, seed=0).windows)
    for name in over or SWEEPS:
        _one(name, settings, samples, bench, schedule, clips, range(seeds), out)


def _shown(samples: Sequence[Sample], windows: Windows) -> list[Clip]:
    """The clips on the panels: one of each class, then more, from the test part of the seed whose maps are drawn."""
    from vidence.datasets.dataset import split

    held = split(samples, seed=0)["test"]
    first = {sample.label: sample for sample in reversed(held)}
    rest = [sample for sample in held if sample not in first.values()]
    shown = [*first.values(), *rest[: max(PANEL_CLIPS - len(first), 0)]]
    return [next(windows.cut(sample.open())) for sample in shown]


def _one(
    name: str,
    settings: CnnRnn,
    samples: Sequence[Sample],
    bench: Workbench,
    schedule: Schedule,
    clips: Sequence[Clip],
    seeds: range,
    out: Path,
) -> None:
    """Run, tell and draw one sweep."""
    from vidence.datasets.dataset import split
    from vidence.evaluate.classification import measures
    from vidence.evaluate.sweep_panels import COLUMNS, Panels
    from vidence.training.sweep import SWEEPS, run_sweep
    from vidence.training.sweep_report import write_sweep_report

    panels, values = Panels(name, out, clips), SWEEPS[name].values
    normal = [bench.classes.index(each) for each in bench.normal]
    rows = run_sweep(
        name,
        settings,
        lambda seed: split(samples, seed=seed),
        bench,
        out,
        measure=lambda labels, found: measures(labels, found, normal=normal),
        seeds=seeds,
        schedule=schedule,
        on_point=panels,
    )
    click.echo(write_sweep_report(name, rows, out, maps=COLUMNS))
    reached = [fmean(row["accuracy"] for row in rows if row["value"] == value) for value in values]
    captions = [f"{name} {value:g}: accuracy {mean:.3f}" for value, mean in zip(values, reached, strict=True)]
    click.echo(f"panel {panels.finish(values, captions)}")
