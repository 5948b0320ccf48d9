"""``vidence evaluate``: how well a detector finds what a labelled set holds, in both protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from vidence.cli.options import device_option, labelled_options, out_option

if TYPE_CHECKING:
    from vidence.datasets.dataset import Dataset, Sample
    from vidence.models.detector import Detector


@click.command("evaluate")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("data", metavar="DATASET")
@click.option(
    "--protocol",
    default="live",
    show_default=True,
    type=click.Choice(["live", "paper"]),
    help="Which one metrics.json puts first. Both are measured.",
)
@out_option
@labelled_options
@click.option("--seed", type=int, help="Seed of the split of a set without official parts [default: the training's].")
@click.option("--all", "whole", is_flag=True, help="Measure on every sample, of a set that was not trained on.")
@click.option("--pixels/--no-pixels", default=True, show_default=True, help="Measure maps where there are masks.")
@device_option
def command(
    detector: Path,
    data: str,
    root: Path | None,
    protocol: Literal["live", "paper"],
    out: Path,
    group: str | None,
    normal: Sequence[str] | None,
    fps: float | None,
    seed: int | None,
    whole: bool,
    pixels: bool,
    device: str,
) -> None:
    """Measure the detector in the folder DETECTOR on the test part of DATASET.

    DATASET is a published set with --root, such as ucsd-ped2, or a folder of class folders or a CSV (./NAME where a
    set has that name). Two protocols: `live` scores are causal, as a camera could use them; `paper` normalises each
    video by its own extremes and smooths it afterwards, as publications do, so it needs the whole video first.

    Writes metrics.json, scores.csv (a row per scored frame, live), roc.png and timeline.png.

    \b
    vidence evaluate detector ucsd-ped2 --root ped2 --out measured
    vidence evaluate detector clips.csv --group source_video --protocol paper --out measured
    """
    from vidence.datasets.opened import open_dataset
    from vidence.evaluate.evaluation import evaluate
    from vidence.evaluate.evaluation_files import FILES, write_evaluation
    from vidence.models.detector import load_detector
    from vidence.training.account import split_seed
    from vidence.training.adaptation import adapted_on

    model = load_detector(detector, device=device)
    dataset = open_dataset(data, root=root, group=group, normal=normal, fps=fps)
    seed = split_seed(model.facts) if seed is None else seed
    samples = dataset.samples() if whole else tested(model, dataset, seed)
    if learnt := adapted_on(model, samples):
        click.echo(
            f"note: the detector was adapted on {len(learnt)} of the {len(samples)} sources that it is measured on, so "
            "it knows them; measure it on others.",
            err=True,
        )
    found = evaluate(model, dataset, samples, pixels=pixels, progress=True)
    write_evaluation(out, found, protocol=protocol)
    for track in found.tracks:
        for note in track.notes if len(track.frames) else (*track.notes, "too short for a score of any frame"):
            click.echo(f"note: {track.sample.path}: {note}", err=True)
    click.echo(_told(found.metrics(protocol)))
    click.echo(f"written    {out}  ({', '.join(FILES)})")


def tested(detector: Detector, dataset: Dataset, seed: int) -> Sequence[Sample]:
    """The test part: a classifier's, or that of a training on normal samples. An official one needs no others."""
    from vidence.datasets.dataset import PARTS, digest
    from vidence.datasets.publication import Official

    if isinstance(dataset, Official):
        return dataset.split("test", seed=seed)
    if detector.classes:
        train, val, test = (dataset.split(name, seed=seed) for name in PARTS)
    else:
        train, val, test = dataset.normal_split(seed)
    learned = detector.facts.get("training_data")
    if learned is not None and learned != digest([*train, *val]):
        click.echo(
            "note: the detector was not trained on the other parts of this split, so it may know what it is measured "
            "on; give the --seed, --group and --normal of the training, or --all for a set it has not seen.",
            err=True,
        )
    return test


def _told(figures: Mapping[str, Any]) -> str:
    """Both protocols side by side, then what does not depend on them."""
    both = {each["protocol"]: each for each in (figures, figures["other_protocol"])}
    columns = [both["live"], both["paper"]]
    table = [["", "live", "paper"], ["causal", "yes", "no, it sees the whole video first"]]
    table.append(["AUC", *(_number(each["frame_auc"]) for each in columns)])
    table.append(["  95 % over videos", *(_span(each["frame_auc_interval"]) for each in columns)])
    table.append(["average precision", *(_number(each["frame_ap"]) for each in columns)])
    table.append(["equal error rate", *(_number(each["eer"]) for each in columns)])
    for name in both["live"]["class_auc"]:
        table.append([f"AUC of {name}", *(_number(each["class_auc"][name]) for each in columns)])
    wide = max(len(row[0]) for row in table) + 2
    lines = [f"{first:{wide}}{live:20}{paper}" for first, live, paper in table]
    cost, live, steps = figures["cost"], both["live"], figures["error_per_step"]
    lines += [
        "",
        f"detector   {figures['detector']}",
        f"frames     {figures['frames_scored']} scored of {figures['frames']}, {figures['sources']} sources",
        f"pixels     AUC {_number(figures['pixel_auc'])}, AP {_number(figures['pixel_ap'])}, "
        f"PRO {_number(figures['pro'])}",
        *([] if steps is None else [f"ahead      error {', '.join(_number(each, '.4g') for each in steps)} by step"]),
        f"alarms     {_alarms(live)}",
        f"cost       {_number(cost['frames_per_s'], '.1f')} frames a second on {cost['threads']} threads, "
        f"{cost['parameters']} parameters, {_number(cost['flops_per_frame'], '.3g')} operations a frame, "
        f"at most {cost['peak_rss_mib']:.0f} MiB",
    ]
    return "\n".join(lines)


def _alarms(live: Mapping[str, Any]) -> str:
    held = live["threshold"]
    if held is None:
        return "the detector has no threshold"
    said = f"above {held['value']:.4g}: balanced accuracy {_number(held['balanced_accuracy'])}"
    if live["events"] is None:
        return said
    return (
        f"{said}; {live['events_found']} of {live['events']} events found, "
        f"{_number(live['event_delay_s'], '.2f')} s after their start; {live['false_alarms']} false alarms in "
        f"{live['normal_s'] / 60:.1f} minutes of normal footage"
    )


def _span(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
