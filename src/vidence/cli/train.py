"""``vidence train``: clips to a detector, that learns classes or what is normal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidence.cli.options import device_option, labelled_options

if TYPE_CHECKING:
    from vidence.datasets.dataset import Dataset, Sample
    from vidence.frames.source import Source
    from vidence.models import Hybrid, MotionAttributes
    from vidence.models.classifier_detector import ClassifierDetector, ClassifierSettings
    from vidence.models.hybrid import HybridDetector
    from vidence.models.motion_attributes import MotionAttributesDetector
    from vidence.models.reconstruction_detector import ReconstructionDetector, ReconstructionSettings
    from vidence.scoring.thresholds import ThresholdRule

    Parts = Mapping[str, Sequence[Sample]]


@click.command("train")
@click.argument("data")
@click.option("--detector", "line", required=True, metavar="SPEC", help="Detector and settings, such as cnn-rnn.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write the detector to.")
@labelled_options
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Published weights (file, folder) of backbone or 3-D network, or, for the group appearance of "
    "motion-attributes and hybrid, of a MobileNetV2.",
)
@click.option(
    "--threshold",
    "rule",
    metavar="SPEC",
    help="Threshold rule, fitted on validation [default: best-f1, of a classifier; else quantile(q=0.99)].",
)
@click.option(
    "--footage",
    multiple=True,
    metavar="SOURCE",
    help="Normal footage to fit --threshold on instead of validation clips; may be repeated.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of split, start and order.")
@click.option("--epochs", type=click.IntRange(1), help="Most epochs [default: the schedule's].")
@click.option(
    "--patience",
    type=click.IntRange(1),
    metavar="EPOCHS",
    help="End early after so many without a better validation loss, and keep the best [default: the schedule's].",
)
@click.option("--replace", is_flag=True, help="Start anew where --out holds a detector or a stopped training.")
@click.option("--resume", is_flag=True, help="Go on where a stopped training left off.")
@device_option
@click.option("--film", is_flag=True, help="Film filters and activation maps epoch by epoch (fine-tuning only).")
def command(
    data: str,
    line: str,
    out: Path,
    root: Path | None,
    weights: Path | None,
    group: str | None,
    normal: Sequence[str] | None,
    rule: str | None,
    footage: tuple[str, ...],
    fps: float | None,
    film: bool,
    replace: bool,
    **how: Any,
) -> None:
    """Train a detector on DATA, and measure it on a held-out part.

    DATA is a folder of class folders with videos (or images) in them, normal footage (a video, or a folder of some), a
    CSV with the columns file,label whose paths start at its folder, or with --root a published set such as ucsd-ped2
    (./NAME is a folder of that name). Clips of one camera or film stay on one side of the split by a --group column.

    A classifier (cnn-rnn, convlstm, r3d-18, r2plus1d-18, i3d) learns the classes; its anomaly score is 1 - P(normal).
    All other detectors learn what is normal from the normal clips alone; `vidence evaluate` measures them.

    \b
    vidence train clips --detector cnn-rnn --weights mobilenet --out detector
    vidence train clips.csv --group source_video --detector "cnn-rnn(units=128)" --out detector
    vidence train clips --detector cnn-rnn --out detector \\
      --threshold "false-alarm-budget(per_hour=1)" --footage monday.mp4 --footage tuesday.mp4
    vidence train ucsd-ped2 --root ped2 --detector bcae1 --out detector
    """
    from vidence import spec
    from vidence.datasets.opened import open_dataset
    from vidence.models import DETECTORS, Hybrid, MotionAttributes
    from vidence.models.reconstruction_detector import ReconstructionSettings
    from vidence.scoring.thresholds import THRESHOLDS
    from vidence.training.fresh_start import started_anew

    settings = spec.build(line, DETECTORS)
    _free(out, resume=how["resume"], replace=replace)
    chosen: ThresholdRule | None = spec.build(rule, THRESHOLDS) if rule else None
    films = _films(footage, chosen, fps)
    dataset = open_dataset(data, root=root, group=group, normal=normal, fps=fps)
    how |= {"out": out, "rule": chosen}
    room = started_anew(out) if replace else nullcontext()
    if isinstance(settings, ReconstructionSettings | MotionAttributes | Hybrid):
        _refuse(spec.parse(line).key, weights=weights, film=film)
        with room:
            detector, parts = _normal(settings, dataset, films, weights=weights, **how)
        _tell(detector, parts, _learned(detector), out)
        if parts["test"]:
            click.echo(f"next       {_evaluate(out, data, root, group, normal, fps, how['seed'])}")
        else:
            click.echo("no test    there is no test part to measure on; `vidence score` takes new footage")
        return
    with room:
        classifier, parts, figures = _classifier(settings, dataset, films, weights=weights, film=film, **how)
    classes = f"{', '.join(classifier.classes)}; normal: {', '.join(classifier.normal)}"
    held_out = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    _tell(classifier, parts, [f"classes    {classes}", f"held out   {held_out}"], out)


def _classifier(
    settings: ClassifierSettings,
    dataset: Dataset,
    films: Sequence[Source],
    *,
    film: bool,
    out: Path,
    seed: int,
    **how: Any,
) -> tuple[ClassifierDetector, Parts, Mapping[str, float]]:
    """Train a classifier on the labels, and measure it on the test part."""
    from vidence.datasets.dataset import PARTS, classes_of, normal_classes
    from vidence.errors import DataError
    from vidence.evaluate.held_out import measure
    from vidence.render.movie import write_movie
    from vidence.training.fit import fit

    classes = classes_of(dataset.samples())
    parts = {name: dataset.split(name, seed=seed) for name in PARTS if len(classes) > 1}
    learned = classes_of(parts["train"]) if parts else classes
    if len(learned) < 2:
        raise DataError(
            f"a classifier must learn from clips of at least two classes; the training part holds {', '.join(learned)} "
            "alone. Take a detector of what is normal, such as bcae1."
        )
    normal = normal_classes(classes, dataset.normal)
    kinds: dict[str, Any] = {"classes": classes, "normal": normal, "film": write_movie if film else None}
    detector = fit(settings, parts["train"], parts["val"], out=out, seed=seed, **kinds, **how)
    _on_footage(detector, films, how["rule"])
    return detector, parts, measure(detector, parts["test"], out=out)


def _normal(
    settings: ReconstructionSettings | MotionAttributes | Hybrid,
    dataset: Dataset,
    films: Sequence[Source],
    *,
    weights: Path | None,
    out: Path,
    seed: int,
    **how: Any,
) -> tuple[ReconstructionDetector | MotionAttributesDetector | HybridDetector, Parts]:
    """Train on what is normal; crop and channels are the set's where the line names none."""
    from vidence.models import Hybrid, MotionAttributes
    from vidence.training.hybrid_fit import fit_hybrid, suited
    from vidence.training.motion_fit import fit_motion
    from vidence.training.normal import fit_normal, settled

    parts = _parts(dataset, seed)
    footage: dict[str, Any] = {"samples": parts["train"], "val": parts["val"], "out": out, "seed": seed}
    if isinstance(settings, MotionAttributes):
        ignored = [name for name in ("epochs", "patience", "resume") if how[name]]
        if ignored:
            raise click.UsageError(f"motion-attributes learns in one pass; leave out --{ignored[0]}.")
        detector: Any = fit_motion(settings, rule=how["rule"], weights=weights, **footage)
    elif isinstance(settings, Hybrid):
        detector = fit_hybrid(suited(settings, dataset), weights=weights, **footage, **how)
    else:
        detector = fit_normal(settled(settings, dataset), **footage, **how)
    if films:
        _on_footage(detector, films, how["rule"])
        detector.save(out)
    return detector, parts


def _parts(dataset: Dataset, seed: int) -> Parts:
    """The parts of `normal_split`; an official test part that is not complete is left out, and the reason told."""
    from vidence.datasets.publication import Official
    from vidence.errors import DataError

    if not isinstance(dataset, Official):
        return dict(zip(("train", "val", "test"), dataset.normal_split(seed), strict=True))
    train, val = dataset.learned(seed)
    try:
        test = dataset.split("test")
    except DataError as error:
        click.echo(f"note: training goes on without a test part: {error}", err=True)
        test = []
    return {"train": train, "val": val, "test": test}


def _free(out: Path, *, resume: bool, replace: bool) -> None:
    """What another training left in the folder is neither lost nor mixed with this one unasked."""
    from vidence.errors import OutputError
    from vidence.models.detector_folder import FACTS_FILE
    from vidence.training.fresh_start import unfinished

    if resume and replace:
        raise click.UsageError("--resume goes on with a training, --replace starts anew; give one of them.")
    trained, stopped = (out / FACTS_FILE).exists(), unfinished(out)
    if replace or (resume and stopped) or not (trained or stopped):
        return
    advice = (
        " --resume goes on with it, under the same settings and on the same data." if stopped and not resume else ""
    )
    raise OutputError(
        f"--out must be a folder without another training; {out} holds {'a detector' if trained else 'a stopped one'}."
        f"{advice} Choose another folder, or start anew in this one with --replace."
    )


def _films(names: Sequence[str], rule: ThresholdRule | None, fps: float | None) -> list[Source]:
    """Open the normal footage before the training starts: what is wrong with it is told now."""
    from vidence.frames.source import open_source

    if names and (rule is None or rule.needs_labels):
        raise click.UsageError("--footage needs a --threshold rule that takes no labels, such as false-alarm-budget.")
    return [open_source(name, fps=fps) for name in names]


def _refuse(key: str, *, weights: Path | None, film: bool) -> None:
    """Options that a detector of what is normal, by its key, has no use for."""
    if weights is not None and key not in ("motion-attributes", "hybrid"):
        raise click.UsageError(
            "--weights are a classifier's, of its backbone or 3-D network, or those of the group appearance of "
            f"motion-attributes and hybrid; {key} takes none. Leave the option out."
        )
    if film:
        raise click.UsageError("--film shows a classifier's backbone while it learns. Leave it out, or train cnn-rnn.")


def _on_footage(detector: Any, films: Sequence[Source], rule: ThresholdRule | None) -> None:
    """The threshold from normal footage, if there is any."""
    from vidence import spec
    from vidence.record.provenance import digest
    from vidence.scoring.run import scored_curve
    from vidence.scoring.thresholds import THRESHOLDS

    if films and rule is not None:
        curves = [scored_curve(detector, film) for film in films]
        fitted = rule.fit(curves, line=spec.line(rule, THRESHOLDS))
        detector.threshold = fitted.facts(digest([film.digest for film in films]))


def _learned(detector: ReconstructionDetector | MotionAttributesDetector | HybridDetector) -> list[str]:
    """How far the training came, and whether it learned more than the mean frame."""
    from vidence.models.trivial import MeanFrame

    facts = detector.facts
    lines = [f"normal     {facts['calibration']['frames']} validation frames"]
    errors = facts.get("metrics", {}).get("val")  # none of a network that reconstructs nothing
    if errors is not None:
        lines[0] += f"; squared error per value {errors['mse']:.3g}, of the mean frame {errors['mean_frame_mse']:.3g}"
        if errors["mse"] >= errors["mean_frame_mse"] and not isinstance(detector.settings, MeanFrame):
            lines.append("note       it reconstructs normal frames no better than their mean does")
    if "cells" in facts:
        lines.append(f"cells      {facts['cells']['kept']} kept of {facts['cells']['seen']} that moved")
        lines.append(f"delay      a frame has its score, which is final, at most {facts['delay_frames']} frames later")
    if not facts.get("plateau_reached", True):
        lines.append(f"note       the validation loss still fell in epoch {facts['epochs']}; more epochs may help")
    return lines


def _tell(detector: Any, parts: Parts, lines: Sequence[str], out: Path) -> None:
    """Print what was made."""
    from vidence.training.fresh_start import WRITTEN

    click.echo(f"detector   {detector.spec}")
    click.echo(f"clips      {', '.join(f'{name} {len(part)}' for name, part in parts.items())}")
    for line in lines:
        click.echo(line)
    if detector.threshold is not None:
        click.echo(f"threshold  {detector.threshold['value']:.4g}: {detector.threshold['origin']}")
    files = [name for name in WRITTEN if (out / name).exists()]
    click.echo(f"written    {out}  ({', '.join(files)})")


def _evaluate(
    out: Path,
    data: str,
    root: Path | None,
    group: str | None,
    normal: Sequence[str] | None,
    fps: float | None,
    seed: int,
) -> str:
    """The command that measures on the same split."""
    named = None if normal is None else ",".join(normal)
    asked = {"--root": root, "--group": group, "--normal": named, "--fps": fps, "--seed": seed or None}
    options = [str(word) for name, value in asked.items() if value is not None for word in (name, value)]
    return shlex.join(["vidence", "evaluate", str(out), data, *options, "--out", "measured"])
