"""``vidence adapt``: a trained detector learns what is normal at a new place, and may go back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vidence.cli.options import device_option, tuning_options

if TYPE_CHECKING:
    from vidence.datasets.dataset import Dataset, Sample
    from vidence.models.detector import Detector
    from vidence.models.motion_attributes import MotionAttributesDetector
    from vidence.models.reconstruction_detector import ReconstructionDetector


@click.command("adapt")
@click.argument("detector", type=click.Path(path_type=Path))
@click.option(
    "--normal",
    "new",
    multiple=True,
    metavar="CLIPS",
    help="New normal footage to learn, not names of classes; may be repeated.",
)
@click.option("--old", metavar="DATASET|CLIPS", help="What was normal before: calibrated on and measured too.")
@click.option("--old-root", type=click.Path(path_type=Path), help="Folder of --old, if it is a published set.")
@click.option("--test", metavar="DATASET", help="A labelled set of the new place to measure on.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of --test, if it is a published set.")
@click.option("--fps", type=float, help="Frame rate of folders of frames, which have no times of their own.")
@tuning_options
@click.option("--rate", type=float, help="Learning rate [default: 5e-7].")
@click.option("--epochs", type=click.IntRange(1), help="[default: 10]")
@click.option("--seed", default=0, show_default=True, help="Seed of the order, and of what is held out.")
@device_option
@click.option("--undo", is_flag=True, help="Go back to the version before, byte for byte; nothing else is done.")
def command(
    detector: Path,
    new: tuple[str, ...],
    old: str | None,
    old_root: Path | None,
    test: str | None,
    root: Path | None,
    fps: float | None,
    seed: int,
    device: str,
    undo: bool,
    **chosen: Any,
) -> None:
    """Adapt the detector in the folder DETECTOR to new normal footage: the SVDD step, a new scale and threshold. Of
    motion-attributes the memory learns instead, and how far the footage has drifted is told. A hybrid is refused:
    train it again, with the new footage among the clips.

    CLIPS is a video, a folder of videos, a folder of frames, or a CSV or folder of class folders, of which the normal
    ones are taken. A fifth of it is kept from learning; the scale and the threshold are fitted on that, and on what
    --old holds for validation. The decoder stays as it is, and so does a centre that the detector has.

    What changes is told before and after: the AUC (live) of labelled sets, or how wrong the detector is on normal
    footage. The old version is kept in DETECTOR/previous; --undo goes back one step.

    \b
    vidence adapt detector --normal monday.mp4 --normal tuesday.mp4
    vidence adapt detector --normal new --old ucsd-ped2 --old-root ped2 --test new.csv
    vidence adapt detector --undo
    """
    from vidence.datasets import DATASETS
    from vidence.datasets.opened import open_dataset
    from vidence.models.detector import load_detector
    from vidence.training import versions
    from vidence.training.account import split_seed
    from vidence.training.adaptation import divided, footage_at

    if undo:
        versions.undo(detector)
        click.echo(
            f"undone     {detector} is the version before; {len(versions.kept_versions(detector))} more are kept"
        )
        return
    if not new:
        raise click.UsageError("adapt needs --normal CLIPS, new footage of what is normal, or --undo.")
    model = load_detector(detector, device=device)
    given = {name: value for name, value in chosen.items() if value is not None}
    _refuse(model, given)
    samples, held = divided([each for path in new for each in footage_at(path, fps=fps)], seed=seed)
    before = _old(old, old_root, fps, seed=split_seed(model.facts))
    tested = None if test is None else open_dataset(test, root=root, fps=None if test in DATASETS else fps)
    found = _adapted(model, samples, held, old=before.normal, given=given, seed=seed)
    place = _Place(tested, _tested(tested, [*samples, *held]), held)
    told = list(_told(model, found, {"old": before, "new": place}))  # what fails, fails before the folder changes
    versions.replace_version(detector, found.save)
    click.echo("\n".join(told))
    click.echo(f"written    {detector}  (go back with: vidence adapt {detector} --undo)")


def _refuse(model: Detector, given: Mapping[str, Any]) -> None:
    """Detectors, and settings of steps, that adapt has no use for."""
    from vidence.models.hybrid import HybridDetector
    from vidence.models.motion_attributes import MotionAttributesDetector

    if isinstance(model, HybridDetector):
        raise click.UsageError(
            "adapt takes a detector that learns alone; a hybrid is two. Train it again with the new footage among the "
            "clips."
        )
    if given and isinstance(model, MotionAttributesDetector):
        raise click.UsageError(f"motion-attributes learns without steps; leave out --{next(iter(given))}.")


def _adapted(
    model: Detector,
    samples: Sequence[Sample],
    held: Sequence[Sample],
    *,
    old: Sequence[Sample],
    given: Mapping[str, Any],
    seed: int,
) -> MotionAttributesDetector | ReconstructionDetector:
    """The new version: what moves is remembered, an encoder is tuned."""
    from vidence.models.motion_attributes import MotionAttributesDetector
    from vidence.training.adaptation import adapted
    from vidence.training.motion_fit import adapt_motion
    from vidence.training.one_class_tuning import reconstructing
    from vidence.training.svdd_step import TUNINGS

    if isinstance(model, MotionAttributesDetector):
        return adapt_motion(model, samples, held, old=old, seed=seed, progress=True)
    model = reconstructing(model)
    how = replace(TUNINGS[model.settings.recipe], **given)
    return adapted(model, samples, held, old=old, how=how, seed=seed, progress=True)


class _Place(NamedTuple):
    """What both versions are measured on: `test` of a labelled set, else `normal` footage."""

    labelled: Dataset | None = None
    test: Sequence[Sample] = ()
    normal: Sequence[Sample] = ()


def _old(name: str | None, root: Path | None, fps: float | None, *, seed: int) -> _Place:
    """What was normal before: a set's validation and test parts, or footage."""
    from vidence.datasets import DATASETS
    from vidence.datasets.opened import open_dataset
    from vidence.training.adaptation import footage_at, plain_footage

    if name is None:
        return _Place()
    if name not in DATASETS and root is None and plain_footage(name):
        return _Place(normal=footage_at(name, fps=fps))
    dataset = open_dataset(name, root=root, fps=None if name in DATASETS else fps)
    _, normal, test = dataset.normal_split(seed)
    return _Place(dataset if test else None, test, normal)


def _tested(dataset: Dataset | None, taken: Sequence[Sample]) -> Sequence[Sample]:
    """A published set's own test part, or all samples of another; of both, those that are not learned from."""
    from vidence.datasets.publication import Published

    if dataset is None:
        return ()
    samples = dataset.split("test") if isinstance(dataset, Published) else dataset.samples()
    paths = {Path(sample.path).resolve() for sample in taken}
    return [sample for sample in samples if Path(sample.path).resolve() not in paths]


def _told(before: Detector, after: Detector, places: Mapping[str, _Place]) -> Iterator[str]:
    """What the step wrote down, and how well both versions do."""
    yield f"detector   {after.spec}"
    drift = after.facts["history"][-1].get("drift")
    if drift is not None:
        groups = ", ".join(f"{share:.1%} {name}" for name, share in drift.items() if name != "frames")
        yield f"drift      {drift['frames']:.1%} of the new frames above the old threshold; cells beyond: {groups}"
        yield f"cells      {after.facts['cells']['kept']} kept of {after.facts['cells']['seen']} that ever moved"
    else:
        facts = after.facts["svdd"]
        share = facts["variance_after"] / facts["variance_before"] if facts["variance_before"] else 0.0
        yield f"embeddings {share:.1%} of their variance is left; centre: {facts['centre']}"
        yield from (f"warning    {warning}" for warning in facts["warnings"])
    for name, place in places.items():
        if place.labelled is not None:
            auc = (_auc(each, place.labelled, place.test) for each in (before, after))
            yield f"{name} AUC    {next(auc)} before, {next(auc)} after (live scores)"
        elif place.normal and drift is None:
            errors = (_quantiles(each, place.normal) for each in (before, after))
            yield f"{name} errors {next(errors)} before, {next(errors)} after"
    if after.threshold is not None:
        yield f"threshold  {after.threshold['value']:.4g}: {after.threshold['origin']}"


def _auc(detector: Detector, dataset: Dataset, test: Sequence[Sample]) -> str:
    from vidence.evaluate.evaluation import evaluate

    auc = evaluate(detector, dataset, test, pixels=False, progress=True).metrics("live")["frame_auc"]
    return "-" if auc is None else f"{auc:.3f}"


def _quantiles(detector: Any, samples: Sequence[Sample]) -> str:
    from vidence.training.adaptation import error_quantiles

    return ", ".join(f"{value:.4g} ({q})" for q, value in error_quantiles(detector, samples).items())
