"""``vidence explain``: where and when did the model look, in pictures a person can check."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidence.cli.options import detector_option, fps_option, out_option, score_option, threshold_option

if TYPE_CHECKING:
    from vidence.cli.sources import Bars
    from vidence.frames.source import Source


@click.command("explain")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@detector_option
@out_option
@click.option("--explainer", "lines", multiple=True, metavar="SPEC", help="May be repeated [default: when-where].")
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
    score: str,
    threshold: float | None,
    first_s: float | None,
    last_s: float | None,
    everything: bool,
    fps: float | None,
) -> None:
    """Explain the alarms of each SOURCE: a video, an image, or a folder of frames.

    Writes maps.npz, contours.json, overlay.mp4 and sheet.png per source and explainer, and one report.html and
    records.db for all. Explained are the windows above the threshold; --from, --to and --all choose others.

    \b
    vidence explain street.mp4 --detector detector --out why
    vidence explain street.mp4 --detector detector --explainer when-where --explainer grad-cam --out why
    vidence explain street.mp4 --detector detector --from 12 --to 15 --score "contrast(class='fight')" --out why
    """
    from vidence.cli.sources import keep, over
    from vidence.models.detector import load_detector
    from vidence.pipeline import Reasons, default_line
    from vidence.record.store import Store
    from vidence.review.report import write_report
    from vidence.scoring.decisions import threshold_of
    from vidence.scoring.run import judge

    model = load_detector(detector)
    limit = threshold_of(model, threshold)
    asked = lines or (default_line(model),)
    Reasons(model, asked, score)  # a wrong line is refused before any work
    store = Store.open(out / "records.db", create=True)
    span = None
    if everything or first_s is not None or last_s is not None:
        span = (-math.inf if first_s is None else first_s, math.inf if last_s is None else last_s)

    def do(source: Source, bars: Bars) -> None:
        bar = bars.add(f"scoring {source.name}", source.duration or 0, "s")
        judged = judge(
            model, source, threshold=limit, step=lambda clip, _: bars.progress.update(bar, completed=clip.times[-1])
        )
        chosen = judged.anomalous if span is None else judged.during(*span)
        bars.progress.remove_task(bar)
        bar = bars.add(f"explaining {source.name}", len(chosen), "windows")
        reasons = Reasons(model, asked, score)
        reasons.add_all(source, chosen, step=lambda: bars.progress.advance(bar))
        ids = keep(store, model, detector, source, judged, reasons, out)
        bars.progress.remove_task(bar)
        highest = judged.peak(None)
        click.echo(
            f"{source.name}: {len(judged.events)} alarms, {len(chosen)} of {len(judged.windows)} windows explained"
        )
        if not chosen:
            click.echo(
                f"  highest score {highest.value:.3f} at {highest.first_s:.1f} s; --all explains it nevertheless"
            )
        for made in ids:
            click.echo(f"  record {made[:12]}")

    try:
        over(sources, do, fps=fps)
    finally:
        count, head = store.head()
        if count:
            write_report(out / "records.db", out / "report.html")
            click.echo(f"report   {out / 'report.html'}\nrecords  {out / 'records.db'}: {count} rows, head {head}")
