"""Explained frames beside what a network expected instead: from a detector and its judgement to a movie and sheets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from vidence.frames.source import Source
from vidence.models.detector import Detector
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.render.side_by_side import Row, beside_of, draw_beside, pictures
from vidence.scoring.cases import Case
from vidence.scoring.run import Judgement

STRONGEST = 4  # windows whose strongest frame the sheet shows


def beside_files(detector: Detector, source: Source, judged: Judgement, cases: Sequence[Case], folder: Path) -> None:
    """Draw the frames of some `cases` into `folder`: a movie, and of each case a sheet called `beside_of(case)`;
    nothing for a network that reconstructs nothing, or without a window.
    """
    firsts = {window.ref.first for case in cases for window in case.windows}
    if not firsts or not isinstance(detector, ReconstructionDetector) or not detector.network.reconstructs:
        return
    sheets = {beside_of(case): _strongest(case) for case in cases if case.windows}
    draw_beside(folder, _rows(detector, source, judged, firsts), sheets, title=Path(source.name).name)


def _strongest(case: Case) -> set[float]:
    """The times of a case's strongest frame in each of its strongest windows."""
    windows = sorted(case.windows, key=case.highest, reverse=True)[:STRONGEST]
    return {max(scores, key=scores.__getitem__) for scores in map(case.scores, windows)}


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
