"""How rate and epochs of the SVDD step change what a detector finds: one tuning a rate, measured on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vidence.aside import written_aside
from vidence.datasets.dataset import Dataset, Sample, digest
from vidence.errors import DataError, SpecError
from vidence.evaluate.detection import frame_auc
from vidence.evaluate.embedding_plots import embedded, first_anomaly, write_activations, write_embeddings
from vidence.evaluate.tracks import Timed
from vidence.models.detector import FrameScores
from vidence.models.one_class import OneClass, squared_distance
from vidence.models.reconstruction import PLACELESS, added, frame_errors, scored_frames
from vidence.models.reconstruction_detector import LiveScores, ReconstructionDetector
from vidence.scoring.timeline import curve
from vidence.training.calibration import pixel_errors
from vidence.training.clips import Footage, clips_of
from vidence.training.ledger import Ledger, run_key
from vidence.training.one_class_tuning import footages, tune
from vidence.training.svdd_step import Tuned, Tuner, Tuning, carrying, codes, tuner_of

GROWN = 0.05  # by how much the validation error may grow, for a setting to be chosen
SHOWN = 4  # frames whose activations are drawn
PANELS = {"error_auc": "by reconstruction error", "distance_auc": "by distance to the centre"}
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Ablation:
    """Tunes `detector` on a set's normal part at each rate, as `how` says otherwise; writes ablation.csv into `out`.

    The first row (rate 0, 0 epochs) is the detector as it is, with the centre where tuning would put it. `error_auc`
    and `distance_auc` are live frame AUCs on the test part. `val_error` (mean squared error) and `val_distance` (mean
    squared distance to the centre) on normal validation footage and `variance_left` need no label: see `chosen`.
    """

    detector: ReconstructionDetector
    dataset: Dataset
    out: Path
    how: Tuning
    seed: int = 0
    split_seed: int = 0

    def run(
        self, rates: Sequence[float], marks: Sequence[int], *, tell: Callable[[str], None] = lambda text: None
    ) -> list[Row]:
        """A row for the untuned detector and for each rate at each epoch mark; rows that are there are not made again.

        A rate at which the loss stops being finite has no row from there on.
        """
        train, val, test = self.parts()
        ledger, facts = Ledger(self.out / "ablation.csv"), self._facts([*train, *val, *test])
        with footages(self.detector, [train, val], cache=self.out / "cache", bar=True) as (footage, held):
            clips = clips_of(self.detector, footage)
            for rate in (0.0, *rates):
                keys = {mark: run_key(facts | {"rate": rate, "epoch": mark}) for mark in (marks if rate else (0,))}
                missing = {mark: key for mark, key in keys.items() if key not in ledger}
                if not missing:
                    continue
                tuner = tuner_of(self.detector, clips, replace(self.how, rate=rate or self.how.rate), seed=self.seed)
                for epoch in range(max(missing) + 1):
                    if epoch and not _went_on(tuner, tell):
                        break
                    if epoch in missing:
                        tell(f"rate {rate:g}, epoch {epoch}")
                        row = self._measured(tuner.result(), held, test)
                        ledger.add(missing[epoch], {"rate": rate, "epochs": epoch} | row)
        wanted = [(0.0, 0), *((rate, mark) for rate in rates for mark in marks)]
        made = [run_key(facts | {"rate": rate, "epoch": mark}) for rate, mark in wanted]
        return [ledger[key] for key in made if key in ledger]

    def parts(self) -> tuple[list[Sample], list[Sample], list[Sample]]:
        """Normal samples to tune and to validate on, and labelled ones. Raises `DataError` if a part is empty."""
        train, val, test = self.dataset.normal_split(self.split_seed)
        if not (train and val and test):
            raise DataError(
                "the ablation needs normal clips to tune and to validate on, and labelled clips to test on; got "
                f"{len(train)}, {len(val)} and {len(test)}."
            )
        return train, val, test

    def tuned(self, row: Row) -> ReconstructionDetector:
        """The detector of a row, calibrated and with a threshold; tuned again, which gives the same."""
        how = replace(self.how, rate=row["rate"], epochs=row["epochs"])
        train, val, _ = self.parts()
        return tune(self.detector, train, val, how, seed=self.seed, cache=self.out / "cache", progress=True)

    def draw(self, found: ReconstructionDetector) -> None:
        """Write pca.png and activations.png: the detector as it was, and another with a tuned network."""
        train, _, test = self.parts()
        before = self.detector
        networks = {"before": before.network, "after": found.network}
        with footages(before, [train], cache=self.out / "cache") as (footage,):
            usual = codes(before.network, clips_of(before, footage)).cpu().numpy()
        centre = found.network.centre.cpu().numpy() if isinstance(found.network, OneClass) else None
        write_embeddings(self.out / "pca.png", usual, embedded(before, networks, self.dataset, test), centre=centre)
        x = before.prepare(first_anomaly(before, self.dataset, test))
        frames = np.unique(np.linspace(0, x.shape[2] - 1, SHOWN).round().astype(int)).tolist()
        write_activations(self.out / "activations.png", networks, x, frames=frames)

    def _facts(self, samples: Sequence[Sample]) -> dict[str, Any]:
        how = {name: value for name, value in asdict(self.how).items() if name not in ("rate", "epochs")}
        known = {"detector": self.detector.spec, "weights": self.detector.weights_digest, "data": digest(samples)}
        return known | how | {"seed": self.seed, "split_seed": self.split_seed}

    def _measured(self, found: Tuned, held: Footage, test: Sequence[Sample]) -> Row:
        detector = carrying(self.detector, found)
        clips = clips_of(detector, held)
        # the mean frame is of no interest here: that of the held footage will do
        errors = pixel_errors(detector.network, clips, held.mean())
        distance = squared_distance(codes(detector.network, clips), found.centre).mean()
        before, after = found.facts["variance_before"], found.facts["variance_after"]
        error_auc, distance_auc = live_aucs(detector, self.dataset, test)
        return {
            "error_auc": error_auc,
            "distance_auc": distance_auc,
            "val_error": errors["mse"],
            "val_distance": float(distance),
            "variance_left": after / before if before else 0.0,
        }


def live_aucs(detector: ReconstructionDetector, dataset: Dataset, samples: Sequence[Sample]) -> tuple[float, float]:
    """The frame AUCs, live, that `evaluate` finds by reconstruction error and by distance to the centre, both from one
    pass; NaN where they are undefined. Of errors that are added the first one is taken.
    """
    scores = (next((name for name in added(detector.settings.score) if name != PLACELESS), "squared-error"), PLACELESS)
    detector = ReconstructionDetector(detector.settings, detector.network)  # neither scale nor spreads
    truths, found = [], []
    for sample in samples:
        source, sessions = Timed(sample.open()), [LiveScores(detector) for _ in scores]
        tracks: list[list[FrameScores]] = [[] for _ in scores]
        for clip in detector.windows.cut(source):
            x = detector.prepare(clip)
            output = detector.output(x)
            times = np.array(clip.times[slice(*scored_frames(output))])
            for score, session, track in zip(scores, sessions, tracks, strict=True):
                values = frame_errors(output, x, score)[0].float().cpu().numpy()
                track.append(session.follow(FrameScores(times=times, values=values)))
        curves = [curve((each.times.tolist(), each.values.tolist()) for each in track) for track in tracks]
        truth = dataset.truth(sample, len(source.times)).anomalous
        truths.append(truth[np.searchsorted(source.times, curves[0].times)])
        found.append([each.values for each in curves])
    by_score = (np.concatenate(values) for values in zip(*found, strict=True))
    aucs = [frame_auc(np.concatenate(truths), values) for values in by_score]
    error, distance = (float("nan") if auc is None else auc for auc in aucs)
    return error, distance


def chosen(rows: Sequence[Row]) -> Row:
    """What normal validation footage would choose: the embeddings nearest to the centre, out of the settings whose
    reconstruction error there grew by at most 5 %. The first row is the untuned detector, which it may be.
    """
    fit = [row for row in rows if row["val_error"] <= (1 + GROWN) * rows[0]["val_error"]]
    return min(fit, key=lambda row: row["val_distance"])


def write_heatmap(path: Path, rows: Sequence[Row]) -> None:
    """Rates by epochs, each cell's AUC printed in it, as error and as distance, each with its own colours; the chosen
    cell is framed.
    """
    before, cells, best = rows[0], rows[1:], chosen(rows)
    if not cells:
        raise DataError("a heat-map needs at least one tuned setting; got none.")
    rates, marks = (sorted({row[name] for row in cells}) for name in ("rate", "epochs"))
    figure = Figure(figsize=(6.0 + 1.3 * len(marks), 1.8 + 0.5 * len(rates)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, title) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        table = np.full((len(rates), len(marks)), np.nan)
        for row in cells:
            table[rates.index(row["rate"]), marks.index(row["epochs"])] = row[name]
        held = [row[name] for row in rows if np.isfinite(row[name])] or [0.0]
        image = axes.imshow(table, cmap="viridis", aspect="auto", vmin=min(held), vmax=max(held))
        _label(axes, table, rates, marks, middle=(min(held) + max(held)) / 2)
        figure.colorbar(image, ax=axes, label="frame AUC")
        axes.set(title=f"{title}; untuned {before[name]:.3f}", xlabel="epochs", ylabel="learning rate")
        if best in cells:
            corner = marks.index(best["epochs"]) - 0.5, rates.index(best["rate"]) - 0.5
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#d55e00", linewidth=2.5))
    figure.suptitle(
        "Test AUC, live scores, shown to compare: it must not choose the settings.\n"
        + ("Framed: what normal validation footage chooses." if best in cells else "Validation footage chooses none.")
    )
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")


def _label(axes: Axes, table: np.ndarray, rates: Sequence[float], marks: Sequence[int], *, middle: float) -> None:
    axes.set_xticks(range(len(marks)), [str(mark) for mark in marks])
    axes.set_yticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    for (y, x), value in np.ndenumerate(table):
        text = "-" if np.isnan(value) else f"{value:.3f}"
        axes.text(x, y, text, ha="center", va="center", color="white" if value < middle else "black")


def _went_on(tuner: Tuner, tell: Callable[[str], None]) -> bool:
    """One more epoch; False where the loss is not finite any more, which is told."""
    try:
        tuner.epoch()
    except SpecError as error:
        tell(str(error))
        return False
    return True
