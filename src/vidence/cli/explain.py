"""``vidence explain``: where and when did the model look, in pictures a person can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidence.cli.options import detector_option, explainer_option, explaining_options, out_option


@click.command("explain")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@detector_option
@out_option
@explainer_option
@explaining_options
def command(
    sources: tuple[str, ...], detector: Path, lines: tuple[str, ...], score: str | None, device: str, **asked: Any
) -> None:
    """Explain the alarms of each SOURCE: a video, an image, a folder of frames, or a folder of videos.

    Writes maps.npz, contours.json, overlay.mp4 and sheet.png per source and explainer, and one report.html and
    records.db for all; per source also beside.mp4, and sheets of it, where the detector reconstructs or predicts: the
    input beside what was expected, and the difference. Files of earlier records stay as they are. Explained are the
    windows above the threshold; --from, --to and --all choose others.

    \b
    vidence explain street.mp4 --detector detector --out why
    vidence explain street.mp4 --detector detector --explainer when-where --explainer grad-cam --out why
    vidence explain street.mp4 --detector detector --from 12 --to 15 --score "contrast(class='fight')" --out why
    """
    from vidence.cli.explaining import explain_all
    from vidence.models.detector import load_deployed
    from vidence.pipeline import default_line

    model = load_deployed(detector, device=device)
    explain_all(sources, model, detector, lines or (default_line(model, score),), score=score, **asked)
