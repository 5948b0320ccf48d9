"""``vidence explain``: where and when did the model look, in pictures a person can check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidence.cli.options import detector_option, fps_option, out_option, score_option, threshold_option

if TYPE_CHECKING:
    from vidence.cli.sources import Bars
    from vidence.frames.source import Source
    from vidence.models.detector import Detector
    from vidence.record.store import Store


@click.command("explain")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@detector_option
@out_option
@click.option(
    "--explainer", "lines", multiple=True, metavar="SPEC", help="May be repeated [default: the detector's own]."
)
@score_option
@threshold_option
@click.option("--from", "first_s", type=float, metavar="SECONDS", help="Explain from here on, alarm or not.")
@click.option("--to", "last_s", type=float, metavar="SECONDS", help="Explain up to here, alarm or not.")
@click.option("--all", "everything", is_flag=True, help="Explain every window.")
@fps_option
def command(
    sources: tuple[str, ...],
    detector: Path,
    out: Path,
    lines: tuple[str, ...],
    score: str | None,
    threshold: float | None,
    first_s: float | None,
    last_s: float | None,
    everything: bool,
    fps: float | None,
) -> None:
    """Explain the alarms of each SOURCE: a video, an image, or a folder of frames.

    Writes maps.npz, contours.json, overlay.mp4 and sheet.png per source and explainer, and one report.html and
    records.db for all; per source also beside.png and beside.mp4 where the detector reconstructs or predicts: the
    input beside what was expected, and the difference. Explained are the windows above the threshold; --from, --to
    and --all choose others.

    \b
    vidence explain street.mp4 --detector detector --out why
    vidence explain street.mp4 --detector detector --explainer when-where --explainer grad-cam --out why
    vidence explain street.mp4 --detector detector --from 12 --to 15 --score "contrast(class='fight')" --out why
    """
    from vidence.cli.sources import over
    from vidence.models.detector import load_deployed
    from vidence.pipeline import Reasons, default_line
    from vidence.record.store import Store
    from vidence.review.report import write_report
    from vidence.scoring.decisions import threshold_of

    model = load_deployed(detector)
    asked = lines or (default_line(model, score),)
    Reasons(model, asked, score)  # a wrong line is refused before any work
    limit = threshold_of(model, threshold)
    span = None
    if first_s is not None and last_s is not None and first_s > last_s:
        raise click.UsageError(f"--from must not lie after --to; got {first_s:g} and {last_s:g}.")
    if everything or first_s is not None or last_s is not None:
        span = (-math.inf if first_s is None else first_s, math.inf if last_s is None else last_s)
    store = Store.open(out / "records.db", create=True)
    work = _Work(model, detector, asked, score, limit, span, store, out)
    try:
        over(sources, work.explain, fps=fps)
    finally:
        count, head = store.head()
        if count:
            write_report(store, out / "report.html")
            click.echo(f"report   {out / 'report.html'}\nrecords  {out / 'records.db'}: {count} rows, head {head}")


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for every source. `span` chooses windows by time instead of by alarm."""

    model: Detector
    folder: Path
    lines: tuple[str, ...]
    score: str | None
    threshold: float
    span: tuple[float, float] | None
    store: Store
    out: Path

    def explain(self, source: Source, bars: Bars) -> None:
        """Score, explain, draw and record one source."""
        from vidence.attribution.progress import heard_by
        from vidence.cli.sources import keep
        from vidence.pipeline import Reasons
        from vidence.scoring.run import judge

        scoring = bars.add(f"scoring {source.name}", source.duration or 0, "s")
        judged = judge(
            self.model,
            source,
            threshold=self.threshold,
            step=lambda clip, _: bars.progress.update(scoring, completed=clip.times[-1]),
        )
        bars.progress.remove_task(scoring)
        chosen = judged.anomalous if self.span is None else judged.during(*self.span)
        explaining = bars.add(f"explaining {source.name}", len(chosen), "windows")
        reasons = Reasons(self.model, self.lines, self.score)
        deciding = {judged.peak(event).ref.first for event in (*judged.events, None)}
        with heard_by(bars.steps(explaining, f"explaining {source.name}")):
            reasons.add_all(source, chosen, certified=deciding, step=lambda: bars.progress.advance(explaining))
        ids = keep(self.store, self.model, self.folder, source, judged, reasons, self.out)
        bars.progress.remove_task(explaining)
        counts = f"{len(judged.events)} alarms, {len(chosen)} of {len(judged.windows)} windows explained"
        click.echo(f"{source.name}: {counts}")
        if not chosen:
            highest = judged.peak(None)
            click.echo(
                f"  highest score {highest.value:.3f} at {highest.first_s:.1f} s; --all explains it nevertheless"
            )
        for made in ids:
            click.echo(f"  record {made[:12]}")
