"""Where and when do the maps point, where the truth is known? Synthetic events of 1, 4 and all frames, two, and none.

    .venv/bin/python benchmarks/localise.py DETECTOR [--clips 100] [--event KIND] [--explainer KEY]

DETECTOR is a classifier trained on the synthetic set (as `vidence demo` leaves it); the clips made here are of people,
places and times it has not seen. Prints a table per kind of event and writes every figure
into a CSV, in place of earlier rows of the same events and maps. `when-where`
is the claim; the other explainers and the controls stand beside it. The CSV ships with the package: reports warn of
an explainer that did no better than a blind map.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from vidence.aside import written_aside
from vidence.attribution import EXPLAINERS, ON_ANY_SCORE
from vidence.datasets.synthetic import CLASSES, Synthetic
from vidence.evaluate.localised import Localisation, MaskedClip, localise
from vidence.frames.clip import Clip
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.detector import load_detector
from vidence.record.facts import ClipRef

KINDS = {
    "one frame": Synthetic(event_frames=1),
    "four frames": Synthetic(event_frames=4),
    "all frames": Synthetic(event_frames=16),
    "two events": Synthetic(event_frames=3, events=2),
}
SEED = 7_000_000  # far from the seeds that sets are written with
QUIET = 4  # one clip in QUIET has no event


def clips(settings: Synthetic, n: int) -> Iterator[MaskedClip]:
    """`n` clips with an event, the anomalous classes in turn, and the clips without one between them."""
    anomalous = [name for name in CLASSES if name != "normal"]
    for i in range(n + n // QUIET):
        label = "normal" if i % (QUIET + 1) == QUIET else anomalous[i % len(anomalous)]
        made = settings.clip(label, SEED + i)
        yield MaskedClip(Clip(ClipRef(f"{label}-{i}", "0" * 64, 0, made.times), made.pixels), made.mask, made.label)


def measured(
    detector: ClassifierDetector, n: int, kinds: Sequence[str], keys: Sequence[str]
) -> Iterator[tuple[str, Localisation]]:
    """A table per kind of event."""
    for kind in kinds:
        settings = KINDS[kind]
        shown = track(clips(settings, n), kind, total=n + n // QUIET, console=Console(stderr=True), transient=True)
        explainers = {key: EXPLAINERS[key]() for key in keys}
        yield kind, localise(detector, explainers, shown)


def main() -> None:
    """Print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--event", action="append", choices=KINDS)
    parser.add_argument("--explainer", action="append", choices=ON_ANY_SCORE)
    parser.add_argument("--out", type=Path, default=Path("src/vidence/attribution/measured"))
    asked = parser.parse_args()
    torch.set_num_threads(2)
    detector = load_detector(asked.detector)
    if not isinstance(detector, ClassifierDetector):
        parser.error(f"DETECTOR must be a classifier; got {detector.spec}. Take the one that `vidence demo` leaves.")
    for kind, table in measured(detector, asked.clips, asked.event or list(KINDS), asked.explainer or ON_ANY_SCORE):
        print(
            f"\n### {kind}: {asked.clips} clips, accuracy of the detector {table.accuracy:.3f}\n\n{table.markdown()}",
            flush=True,
        )
        keep(asked.out / "localisation.csv", kind, table)


def keep(path: Path, kind: str, table: Localisation) -> None:
    """Write one table's rows, in place of those of the same event and maps."""
    rows = [[kind, row.explainer, row.measure, row.mean, row.low, row.high, row.n] for row in table.rows]
    rows += [[kind, name, "mass-without-event", value, "", "", ""] for name, value in table.quiet.items()]
    new = {(row[0], row[1]) for row in rows}
    old = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:] if path.is_file() else []
    kept = [row for row in old if (row[0], row[1]) not in new]
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["event", "map", "measure", "mean", "low", "high", "clips"])
        writer.writerows([*kept, *rows])


if __name__ == "__main__":
    main()
