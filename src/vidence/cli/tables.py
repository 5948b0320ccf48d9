"""``vidence tables``: the thesis' tables again: what is missing is trained, and printed beside what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vidence.models.reconstruction_detector import Recipe


@click.command("tables")
@click.argument("source", type=click.Choice(["ravi"]), expose_value=False)
@click.option("--set", "key", required=True, metavar="KEY", help="A data set of `vidence info`, such as ucsd-ped2.")
@click.option("--root", type=click.Path(path_type=Path), help="Where the publisher's files lie.")
@click.option("--rows", multiple=True, metavar="ROW", help="A row or a table (BCAE1, 4.13, baseline) [default: all].")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Trainings a row.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs a training [default: the schedule's].")
@click.option(
    "--recipe",
    default="corrected",
    show_default=True,
    type=click.Choice(["corrected", "thesis", "released"]),
    help="How is trained: see docs/detectors.md.",
)
@click.option(
    "--kept", is_flag=True, help="Print what OUT holds already, whatever its seeds and epochs; train nothing."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for detectors, tables and plots.")
def command(
    key: str,
    root: Path | None,
    rows: tuple[str, ...],
    seeds: int,
    epochs: int | None,
    recipe: Recipe,
    kept: bool,
    out: Path,
) -> None:
    """Train and measure the rows of a source's tables on one set, and print them beside the printed numbers.

    Every run is kept in OUT/KEY.csv as it ends; the same command goes on where a stopped one was, inside a training
    too. The trivial detectors (random, mean frame, previous frame) are rows like the others. Both protocols are
    printed: `paper` sees the whole video before it scores its first frame, `live` is what a camera could use.

    \b
    vidence tables ravi --set ucsd-ped2 --root ped2 --rows baseline --rows BCAE1 --seeds 3 --epochs 30 --out tables
    vidence tables ravi --set ucsd-ped2 --root ped2 --rows 4.13 --seeds 1 --epochs 15 --out tables
    """
    from vidence.aside import written_aside
    from vidence.datasets.opened import open_dataset
    from vidence.evaluate.pareto import write_pareto
    from vidence.evaluate.thesis_report import draw, lines, text, write_csv
    from vidence.evaluate.thesis_rows import chosen
    from vidence.evaluate.thesis_tables import Bench

    wanted = chosen(key, rows)
    bench = Bench(key, open_dataset(key, root=root), out, recipe=recipe)
    if kept:
        runs = bench.kept(wanted)
    else:
        runs = bench.run(wanted, seeds=seeds, epochs=epochs, tell=lambda said: click.echo(said, err=True))
    found = lines(key, wanted, runs)
    table = text(key, found)
    with written_aside(out / f"{key}.md") as aside:
        aside.write_text(table, encoding="utf-8")
    write_csv(out / f"{key}-summary.csv", found)
    draw(out / f"{key}.png", key, found)
    write_pareto(
        out / f"{key}-pareto.png",
        [{"name": each.row.name, **each.means} for each in found],
    )
    click.echo(table)
    click.echo(f"written    {out}  ({key}.md, {key}.csv, {key}-summary.csv, {key}.png, {key}-pareto.png)")
