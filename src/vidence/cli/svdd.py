"""``vidence svdd``: the SVDD step at several rates and epochs, and what it does to embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from vidence.cli.options import device_option, out_option, tuning_options
from vidence.errors import SpecError


@click.command("svdd")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("data", metavar="DATASET")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of a published set.")
@click.option("--rates", default="1e-6,1e-5,1e-4,1e-3", show_default=True, help="Learning rates.")
@click.option("--epochs", "marks", default="1,2,5,10,20", show_default=True, help="Epochs at which to measure.")
@tuning_options
@click.option("--seed", default=0, show_default=True, help="Seed of the order.")
@device_option
@out_option
def command(
    detector: Path,
    data: str,
    root: Path | None,
    rates: str,
    marks: str,
    seed: int,
    device: str,
    out: Path,
    **options: Any,
) -> None:
    """Tune the encoder of the detector in the folder DETECTOR on the normal part of DATASET, at several rates.

    Each rate is tuned once and measured on its way. Writes ablation.csv, heatmap.png (live frame AUC on the test part,
    by reconstruction error and by distance to the centre), the detector of the setting that normal validation footage
    chooses (detector/), and embeddings and activations before and after it (pca.png, activations.png). Test AUC is
    shown to compare; it takes no part in the choice. Given again, the command goes on where it was stopped.

    \b
    vidence svdd detector ucsd-ped2 --root ped2 --out svdd
    vidence svdd detector ucsd-ped2 --root ped2 --scope last --objective soft-boundary --out svdd-last
    """
    from vidence.datasets.opened import open_dataset
    from vidence.evaluate.svdd_ablation import Ablation, chosen, write_heatmap
    from vidence.models.detector import load_detector
    from vidence.training.account import split_seed
    from vidence.training.one_class_tuning import reconstructing
    from vidence.training.svdd_step import TUNINGS

    tried, epochs = _numbers("--rates", rates, float), _numbers("--epochs", marks, int)
    model = reconstructing(load_detector(detector, device=device))
    given = {name: value for name, value in options.items() if value is not None}
    how = replace(TUNINGS[model.settings.recipe], **given)
    dataset = open_dataset(data, root=root)
    ablation = Ablation(model, dataset, out, how, seed=seed, split_seed=split_seed(model.facts))
    rows = ablation.run(tried, epochs, tell=click.echo)
    if len(rows) < 2:
        raise SpecError("at least one rate must leave the loss finite; none did. Lower --rates.")
    write_heatmap(out / "heatmap.png", rows)
    best = chosen(rows)
    found = ablation.tuned(best if best["epochs"] else rows[1])
    ablation.draw(found)
    if best["epochs"]:
        found.save(out / "detector")
    click.echo(_told(rows, best))
    click.echo(f"written    {out}  (ablation.csv, heatmap.png, pca.png, activations.png)")


def _told(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> str:
    """The rows as a table, and what normal validation footage chooses."""
    columns = ("rate", "epochs", "error_auc", "distance_auc", "val_error", "val_distance", "variance_left")
    lines = ["  ".join(f"{name:>13}" for name in columns)]
    lines += ["  ".join(f"{row[name]:>13.4g}" for name in columns) for row in rows]
    choice = f"rate {best['rate']:g}, {best['epochs']} epochs" if best["epochs"] else "the detector as it is"
    return "\n".join([*lines, f"normal validation footage chooses {choice}; test AUC took no part in it"])


def _numbers(option: str, text: str, kind: Callable[[str], Any]) -> list[Any]:
    try:
        found = sorted({kind(part) for part in text.split(",")})
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 1,2,5.", param_hint=option) from error
    if found[0] <= 0:
        raise click.BadParameter(f"numbers must be positive; got {text}.", param_hint=option)
    return found
