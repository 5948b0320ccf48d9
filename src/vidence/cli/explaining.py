"""What `vidence explain` and `vidence trust` share: score sources, explain what was chosen, draw and record it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from vidence.attribution.progress import heard_by
from vidence.cli.sources import Bars, Records, over, results_in
from vidence.errors import ExplainError
from vidence.explained_source import Reasons, ShortCheck
from vidence.frames.source import Source
from vidence.models.detector import Detector
from vidence.review import short_check
from vidence.review.report import write_report
from vidence.scoring.cases import deciding
from vidence.scoring.decisions import threshold_of
from vidence.scoring.run import judge


def explain_all(
    sources: Sequence[str],
    detector: Detector,
    folder: Path,
    lines: Sequence[str],
    *,
    out: Path,
    score: str | None = None,
    threshold: float | None = None,
    first_s: float | None = None,
    last_s: float | None = None,
    everything: bool = False,
    fps: float | None = None,
    key: bytes | None = None,
    check: ShortCheck | None = None,
) -> None:
    """Explain the sources with every explainer of `lines`, and write records and report to the folder `out`.

    The windows are those above the threshold, or those from `first_s` to `last_s`, or all; `folder` is the detector's,
    `key` signs the records.
    """
    Reasons(detector, lines, score)  # a wrong line is refused before any work
    limit = threshold_of(detector, threshold)
    span = None
    if first_s is not None and last_s is not None and first_s > last_s:
        raise click.UsageError(f"--from must not lie after --to; got {first_s:g} and {last_s:g}.")
    if everything or first_s is not None or last_s is not None:
        span = (-math.inf if first_s is None else first_s, math.inf if last_s is None else last_s)
    records = Records(out, key)
    work = _Work(detector, folder, tuple(lines), score, limit, span, records, check)
    with results_in(out):
        try:
            over(sources, work.explain, fps=fps)
        finally:
            if (out / "records.db").exists():
                write_report(records.store, out / "report.html")
                click.echo(f"report   {out / 'report.html'}")
                records.tell()


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for every source. `span` chooses windows by time instead of by alarm."""

    model: Detector
    folder: Path
    lines: tuple[str, ...]
    score: str | None
    threshold: float
    span: tuple[float, float] | None
    records: Records
    check: ShortCheck | None

    def explain(self, source: Source, bars: Bars) -> None:
        """Score, explain, draw and record one source."""
        scoring = bars.add(f"scoring {source.name}", source.duration or 0, "s")
        judged = judge(
            self.model,
            source,
            threshold=self.threshold,
            step=lambda clip, _: bars.progress.update(scoring, completed=clip.times[-1]),
        )
        bars.progress.remove_task(scoring)
        chosen = judged.anomalous if self.span is None else judged.during(*self.span)
        if self.span is not None and not chosen:
            first, last = judged.windows[0].first_s, judged.windows[-1].last_s
            raise ExplainError(
                f"--from and --to must meet the video; {source.name} was scored from {first:.2f} to {last:.2f} s, and "
                f"nothing of it lies in {self.span[0]:g} to {self.span[1]:g} s."
            )
        explaining = bars.add(f"explaining {source.name}", len(chosen), "windows")
        reasons = Reasons(self.model, self.lines, self.score, check=self.check)
        with heard_by(bars.steps(explaining, f"explaining {source.name}")):
            reasons.add_all(
                source,
                chosen,
                certified=deciding(judged, chosen),
                step=lambda: bars.progress.advance(explaining),
            )
        ids = self.records.keep(self.model, self.folder, source, judged, reasons)
        bars.progress.remove_task(explaining)
        counts = f"{len(judged.events)} alarms, {len(chosen)} of {len(judged.windows)} windows explained"
        click.echo(f"{source.name}: {counts}")
        if not chosen:
            highest = judged.peak
            click.echo(
                f"  highest score {highest.value:.3f} at {highest.first_s:.1f} s; --all explains it nevertheless"
            )
        for made in ids:
            click.echo(f"  record {made[:12]}")
            for line in short_check.lines(self.records.store.get(made).readable()):
                click.echo(f"    {line}")
