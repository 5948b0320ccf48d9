"""What an evaluation leaves on disk: figures as JSON, scores as CSV, two pictures; each whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from vidence.aside import written_aside
from vidence.evaluate.detection_plots import write_roc, write_timeline
from vidence.evaluate.evaluation import Evaluation
from vidence.evaluate.protocols import Protocol

FILES = ("metrics.json", "scores.csv", "roc.png", "timeline.png")


def write_evaluation(out: Path, found: Evaluation, *, protocol: Protocol = "live") -> None:
    """Write `FILES` into the folder `out`. `protocol` is the one at the top of `metrics.json`; scores are live."""
    out.mkdir(parents=True, exist_ok=True)
    with written_aside(out / "metrics.json") as aside:
        aside.write_text(json.dumps(found.metrics(protocol), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    write_scores(out / "scores.csv", found)
    write_roc(out / "roc.png", found)
    write_timeline(out / "timeline.png", found)


def write_scores(path: Path, found: Evaluation) -> None:
    """A row per scored frame: source, frame (from 0), time_s, score (live), raw_error, anomalous (the ground truth)."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["source", "frame", "time_s", "score", "raw_error", "anomalous"])
        for track in found.tracks:
            for frame, live, raw, anomalous in zip(track.frames, track.live, track.raw, track.truth, strict=True):
                row = [frame, f"{track.times[frame]:.3f}", f"{live:.6g}", f"{raw:.6g}", int(anomalous)]
                writer.writerow([track.sample.path, *row])
