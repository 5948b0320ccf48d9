"""``vidence score``: a CSV row per window, a record per alarm; explanation runs beside the scoring."""

from __future__ import annotations

import time
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
    from vidence.cli.sources import Bars
    from vidence.frames.clip import Clip
    from vidence.frames.source import Source
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
    from vidence.pipeline import Reasons
    from vidence.scoring.decisions import threshold_of
    from vidence.scoring.run import judge

    model = load_deployed(detector, device=device)
    limit = threshold_of(model, threshold)
    beside = Beside(detector, asked, score, device=device)
    records, table = Records(out, key), Table(out / "scores.csv", getattr(model, "classes", ()))

    def do(source: Source, bars: Bars) -> None:
        bar = bars.add(f"scoring {source.name}", source.duration or 0, "s")
        reasons = beside.start()

        def step(clip: Clip, window: ScoredWindow) -> None:
            bars.progress.update(bar, completed=clip.times[-1])
            if window.value > limit:
                beside.put(clip)

        try:
            judged = judge(model, source, threshold=limit, step=step)
        except BaseException:
            beside.drop()
            raise
        finally:
            added = beside.finish()
        bars.progress.remove_task(bar)
        began = time.perf_counter()
        reasons = reasons if beside.failed is None else Reasons(model, (), score)
        records.keep(model, detector, source, judged, reasons)
        table.add(source.name, judged)  # last: a source with rows is whole
        if beside.failed is not None:
            raise beside.failed
        added += time.perf_counter() - began
        told = f"; explanation added {added:.1f} s" if len(reasons) else ""
        click.echo(f"{source.name}: {len(judged.windows)} windows, {len(judged.events)} alarms{told}")

    with results_in(out):
        try:
            over(sources, do, fps=fps)
        finally:
            table.tell()
            records.tell()
