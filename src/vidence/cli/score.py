"""``vidence score``: a CSV row per window, a record per alarm; explanation runs beside the scoring."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidence.cli.options import (
    detector_option,
    device_option,
    fps_option,
    key_option,
    out_option,
    score_option,
    threshold_option,
)

if TYPE_CHECKING:
    from vidence.cli.beside import Beside
    from vidence.cli.sources import Bars, Records
    from vidence.cli.table import Table
    from vidence.frames.clip import Clip
    from vidence.frames.source import Source
    from vidence.models.detector import Detector
    from vidence.scoring.run import ScoredWindow


@click.command("score")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@detector_option
@out_option
@click.option(
    "--explain",
    "asked",
    default="alarms",
    show_default=True,
    metavar="SPEC|alarms|off",
    help="Explainer of the alarms: `alarms` takes the detector's default. Scores are the same with and without.",
)
@score_option
@threshold_option
@fps_option
@device_option
@key_option
def command(
    sources: tuple[str, ...],
    detector: Path,
    out: Path,
    asked: str,
    score: str | None,
    threshold: float | None,
    fps: float | None,
    device: str,
    key: bytes | None,
) -> None:
    """Score each SOURCE: a video, an image, a folder of frames, or a folder of videos.

    Writes scores.csv (a row per window: source, first_s, last_s, p_CLASS... of a classifier, score, threshold,
    anomalous) and records.db (a record per alarm; for a source without one, its highest window). A source that cannot
    be read, or does not suit the detector, is reported and the rest is still scored; the exit code is then 1.

    A source has rows once it is finished, records and pictures included. What OUT holds from earlier runs stays, but
    for the rows of a source that is scored again.

    \b
    vidence score street.mp4 yard.mp4 --detector detector --out scored
    vidence score street.mp4 --detector detector --out scored --explain off
    """
    from vidence.cli.beside import Beside
    from vidence.cli.sources import Records, over, results_in
    from vidence.cli.table import Table
    from vidence.models.detector import load_deployed
    from vidence.scoring.decisions import threshold_of

    model = load_deployed(detector, device=device)
    limit = threshold_of(model, threshold)
    beside = Beside(detector, asked, score, device=device)
    records, table = Records(out, key), Table(out / "scores.csv", model.classes)

    work = _Work(model, detector, limit, score, beside, records, table)
    with results_in(out):
        try:
            over(sources, work.score, fps=fps)
        finally:
            table.tell()
            records.tell()


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for every source; `folder` is the detector's, `line` of what is explained."""

    model: Detector
    folder: Path
    limit: float
    line: str | None
    beside: Beside
    records: Records
    table: Table

    def score(self, source: Source, bars: Bars) -> None:
        """Score one source, explain its alarms beside that, and record both."""
        from vidence.explained_source import Reasons
        from vidence.scoring.run import judge

        bar = bars.add(f"scoring {source.name}", source.duration or 0, "s")
        reasons = self.beside.start()

        def step(clip: Clip, window: ScoredWindow) -> None:
            bars.progress.update(bar, completed=clip.times[-1])
            if window.value > self.limit:
                self.beside.put(clip)

        try:
            judged = judge(self.model, source, threshold=self.limit, step=step)
        except BaseException:
            self.beside.drop()
            raise
        finally:
            added = self.beside.finish()
        bars.progress.remove_task(bar)
        began = time.perf_counter()
        reasons = reasons if self.beside.failed is None else Reasons(self.model, (), self.line)
        self.records.keep(self.model, self.folder, source, judged, reasons)
        self.table.add(source.name, judged)  # last: a source with rows is whole
        if self.beside.failed is not None:
            raise self.beside.failed
        added += time.perf_counter() - began
        told = f"; explanation added {added:.1f} s" if len(reasons) else ""
        click.echo(f"{source.name}: {len(judged.windows)} windows, {len(judged.events)} alarms{told}")
