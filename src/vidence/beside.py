"""Explained frames beside what a network expected instead: from a detector and its judgement to two files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from vidence.frames.source import Source
from vidence.models.detector import Detector
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.render.side_by_side import Row, draw_beside, pictures
from vidence.scoring.run import Judgement, ScoredWindow

STRONGEST = 4  # windows whose strongest frame the sheet shows


def beside_files(
    detector: Detector, source: Source, judged: Judgement, windows: Sequence[ScoredWindow], folder: Path
) -> list[Path]:
    """Draw the frames of some `windows` into `folder`, a sheet and a movie; nothing for a network that reconstructs
    nothing, or without a window.
    """
    if not windows or not isinstance(detector, ReconstructionDetector) or not detector.network.reconstructs:
        return []
    strongest = sorted(windows, key=lambda window: -window.value)[:STRONGEST]
    wanted = {max(zip(window.values, window.times, strict=True))[1] for window in strongest}
    rows = _rows(detector, source, judged, {window.ref.first for window in windows})
    return draw_beside(folder, rows, wanted, title=Path(source.name).name)


def _rows(detector: ReconstructionDetector, source: Source, judged: Judgement, firsts: set[int]) -> Iterator[Row]:
    """The frames of the windows that start at `firsts`, each once, with what was expected there."""
    scores = dict(zip(judged.curve.times.tolist(), judged.curve.values.tolist(), strict=True))
    left, last = set(firsts), -math.inf
    for clip in detector.windows.cut(source):
        found = detector.expectation(clip) if clip.ref.first in left else None
        if found is None:
            continue
        for place, time in enumerate(found.times.tolist()):
            if time > last:
                expected = {name: frames[place] for name, frames in found.expected.items()}
                attention = None if found.attention is None else found.attention[place]
                yield Row(time, scores[time], pictures(found.seen[place], expected, found.residual[place], attention))
                last = time
        left.remove(clip.ref.first)
        if not left:
            return
