"""Fits a detector to what is normal: frames, loop, calibration and threshold on held-out normal footage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from vidence.datasets.dataset import Dataset, Sample, digest_parts
from vidence.errors import DataError
from vidence.models.device import device_of, place_of
from vidence.models.ensemble import Ensemble, EnsembleNetwork
from vidence.models.reconstruction import PLACELESS, Learning, added, frame_errors
from vidence.models.reconstruction_detector import ReconstructionDetector, ReconstructionSettings
from vidence.scoring.thresholds import Quantile, ThresholdRule
from vidence.training.account import fit_facts, fit_identity
from vidence.training.allocator import blocks_kept
from vidence.training.calibration import HIGH, calibrate, pixel_errors, refuse_labels_and_no_samples
from vidence.training.clips import ClipBatches, Footage, Place, as_input, clips_of, least_frames
from vidence.training.frame_cache import FrameCache
from vidence.training.loop import Precision, fast_precision, train
from vidence.training.progress_file import Progress
from vidence.training.recipes_normal import NORMAL_RECIPES, NormalRecipe
from vidence.training.schedule import Schedule
from vidence.training.svdd_step import begun, ended

if TYPE_CHECKING:
    from vidence.training.reconstruction_module import Reconstructor


RECENT, SETTLED = 5, 0.01  # the plateau is reached when the last epochs improved by less than this share


def fit_normal(
    settings: ReconstructionSettings,
    samples: Sequence[Sample],
    val: Sequence[Sample],
    *,
    out: Path,
    seed: int = 0,
    split_seed: int | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    resume: bool = False,
    progress: bool = True,
    schedule: Schedule | None = None,
    rule: ThresholdRule | None = None,
    cache: Path | None = None,
    precision: Precision | None = None,
    device: str = "auto",
) -> ReconstructionDetector:
    """Train on normal `samples`, calibrate and choose the threshold on normal `val`, save into `out` and return it.

    `out` also gets log.csv, curve.png and progress.pt, from which `resume` goes on. Frames are kept in `cache` (default
    `out`/cache), which fits of all seeds and networks with the same input share. `split_seed` (default `seed`) is what
    the parts were split with: the facts name it. `schedule` overrides that of the settings' `recipe`, `epochs` and
    `patience` its values of that name (with a patience, the best epoch is kept). `rule` chooses the threshold on live
    scores (default: the .99 quantile). `device` is where all of it computes (see `device_of`), `precision` the
    arithmetic of the training (default: `fast_precision`). A network with a method `learn(clips)` is given its clips
    once, one without parameters nothing; an ensemble's members come first: number k in `out`/members/k, seed + k.
    Raises `SpecError` for a rule that needs labels or a distance that no network gives, `DataError` for an empty part.
    """
    rule = rule or Quantile(HIGH)
    refuse_labels_and_no_samples(rule, samples, val)
    detector = _untrained(settings, seed, device_of(device))
    cache = cache or out / "cache"
    options: dict[str, Any] = {"epochs": epochs, "patience": patience, "schedule": schedule, "resume": resume}
    split_seed = seed if split_seed is None else split_seed
    options |= {"progress": progress, "split_seed": split_seed, "precision": precision, "device": device}
    again = partial(fit_normal, samples=samples, val=val, rule=rule, cache=cache, **options)
    members = _members(detector, again, out / "members", seed)
    parts = {"train": samples, "val": val}
    data, digests = digest_parts(parts)
    frames = FrameCache(cache, detector.fit, detector.windows.rate, settings.channels or 3)
    footage, held = frames.footages([samples, val], bar=progress)
    bench = _Bench(detector, footage, held, seed, precision or fast_precision(place_of(detector.network)))
    schedule = bench.schedule(schedule).asked(epochs=epochs, patience=patience)
    done = Progress(fit_identity(detector, schedule, digests, seed, precision=bench.precision))
    clips = bench.all(footage, schedule.batch)
    variance = begun(detector, clips)
    if isinstance(detector.network, Learning):
        detector.network.learn(as_input(clip) for clip in bench.all(footage, 1))
    elif any(each.requires_grad for each in detector.network.parameters()):
        done = bench.train(schedule, done.identity, out=out, resume=resume, bar=progress)
    detector.remember(None)
    detector.facts = fit_facts(schedule, done, data, parts, seed, split_seed) | bench.facts(done) | members
    detector = ended(detector, clips, variance, seed=seed)
    if detector.network.reconstructs:
        errors = pixel_errors(detector.network, bench.all(held, schedule.batch), footage.mean())
        detector.facts["metrics"] = {"val": errors}
    calibrate(detector, val, rule)
    detector.save(out)
    return detector


def _untrained(settings: ReconstructionSettings, seed: int, device: torch.device) -> ReconstructionDetector:
    """The same seed gives the same weights on any device."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = settings.build()
    made.network.to(device)
    _refuse_absent_distance(made)
    return made


def _refuse_absent_distance(detector: ReconstructionDetector) -> None:
    """Score an empty clip where a distance is asked for, so that a network without one is refused before the training.

    Those that have to learn before they say anything are let pass.
    """
    settings = detector.settings
    if PLACELESS in added(settings.score):
        x = torch.zeros(1, 3, settings.length, settings.size, settings.size, device=place_of(detector.network))
        with suppress(DataError):
            frame_errors(detector.output(x), x, PLACELESS)


def _members(
    detector: ReconstructionDetector, fitted: Callable[..., ReconstructionDetector], folder: Path, seed: int
) -> dict[str, Any]:
    """Give an ensemble its fitted members, no two of which begin alike; what is written down of them."""
    settings, network = detector.settings, detector.network
    if not isinstance(settings, Ensemble) or not isinstance(network, EnsembleNetwork):
        return {}
    known = []
    for number, each in enumerate(settings.members()):
        member = fitted(each, out=folder / str(number), seed=seed + number)
        network.take(number, member)
        known.append({"detector": member.spec, "weights": member.weights_digest, "facts": member.facts})
    detector.remember(None)
    return {"members": known}


def settled(settings: ReconstructionSettings, dataset: Dataset) -> ReconstructionSettings:
    """The settings with the data set's channels and crop where they name none."""
    channels = dataset.channels if settings.channels is None else settings.channels
    crop = dataset.crop if settings.crop is None else settings.crop
    return replace(settings, channels=channels, crop=crop)


def plateau_reached(losses: Sequence[float]) -> bool:
    """Whether the best of the last 5 losses is less than 1 % below the best before.

    False with no loss before them, True without losses: nothing was to be learned step by step.
    """
    before, recent = losses[:-RECENT], losses[-RECENT:]
    return not losses or (bool(before) and min(recent) > (1 - SETTLED) * min(before))


@dataclass(frozen=True, eq=False)
class _Bench:
    """A detector and the footage that it is fitted to."""

    detector: ReconstructionDetector
    footage: Footage
    val: Footage
    seed: int
    precision: Precision

    @property
    def recipe(self) -> NormalRecipe:
        return NORMAL_RECIPES[self.detector.settings.recipe]

    @property
    def length(self) -> int:
        return self.detector.settings.length

    @property
    def least(self) -> int:
        return least_frames(self.detector)

    @property
    def strides(self) -> tuple[int, ...]:
        return self.recipe.strides_for(alone=self.least == 1)

    def schedule(self, asked: Schedule | None) -> Schedule:
        """What is asked for, else the recipe's; networks that see frames together get a few clips a step."""
        schedule = asked or self.recipe.schedule
        if asked is None and self.least > 1:
            schedule = replace(schedule, batch=self.recipe.clips * self.length)
        return schedule

    def all(self, footage: Footage, frames: int) -> ClipBatches:
        """Every frame, in order."""
        return clips_of(self.detector, footage, frames=frames)

    def train(self, schedule: Schedule, identity: str, *, out: Path, resume: bool, bar: bool) -> Progress:
        """Run the loop, weights in float32."""
        network, settings = self.detector.network, self.detector.settings
        held = self.all(self.val, schedule.batch)
        if self.recipe.leaked:
            held = ClipBatches(self.footage, schedule.batch, places=self.leaked())
        batches = ClipBatches(
            self.footage,
            schedule.batch,
            length=self.length,
            least=self.least,
            strides=self.strides,
            all_strides=self.recipe.all_strides,
            seed=self.seed,
            without=frozenset(held.places) if self.recipe.leaked else frozenset(),
        )
        if not batches.batches() or not held.places:
            raise DataError(
                f"the videos to train and to validate on must hold clips of {self.least} frames; one of both parts "
                "holds none. Give longer videos, or a smaller length."
            )

        def lesson(epoch: int) -> Reconstructor:
            from vidence.training.reconstruction_module import Reconstructor

            batches.epoch = epoch
            return Reconstructor(
                network,
                schedule,
                batches,
                held,
                loss=settings.loss,
                recipe=self.recipe,
                seed=self.seed,
                epoch=epoch,
            )

        channels_last(network)
        with blocks_kept():
            return train(
                network,
                schedule,
                lesson,
                identity=identity,
                folder=out,
                resume=resume,
                bar=bar,
                precision=self.precision,
            )

    def facts(self, done: Progress) -> dict[str, Any]:
        """What is written down of the training; without steps there was no arithmetic."""
        return {
            "validation": self.recipe.validation,
            "frames": {"train": self.footage.frames, "val": self.val.frames},
            "plateau_reached": plateau_reached([row["val_loss"] for row in done.rows]),
            "training_precision": self.precision if done.rows else None,
        }

    def leaked(self) -> list[Place]:
        """The clips, drawn at random, that the recipe validates on; at least one."""
        places = self.footage.every(self.length, self.strides, least=self.least)
        count = max(1, round(self.recipe.leaked * len(places)))
        order = np.random.default_rng(self.seed).permutation(len(places))
        return [places[place] for place in sorted(order[:count])]


def channels_last(network: nn.Module) -> None:
    """Lay the kernels of convolutions out with channels last, as a CPU's bf16 convolutions take them."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
