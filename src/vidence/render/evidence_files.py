"""The files of one explanation of one source: maps.npz, contours.json, overlay.mp4, sheet.png and a sheet per case."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Container, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from vidence.aside import written_aside
from vidence.frames.source import Source
from vidence.frames.transforms import resize_map
from vidence.record.timecode import timecode
from vidence.render.annotate import Explained, Page, annotated
from vidence.render.contours import LEVELS, Contour, contours, to_json
from vidence.render.legend import legend
from vidence.render.lettering import number
from vidence.render.movie import write_movie
from vidence.render.sheet import pick_frames, write_sheet
from vidence.scoring.cases import Case

AROUND_S = 2.0  # the movie shows this much before and after what was explained
MAPS, CONTOURS, MOVIE, SHEET = "maps.npz", "contours.json", "overlay.mp4", "sheet.png"


@dataclass(frozen=True, slots=True, eq=False)
class PlacedMaps:
    """Maps on their own grid with their times, and where the grid lies in a source of `size` (h, w).

    `windows` are the first samples of the windows that were explained: what a replay explains again.
    """

    times: Float[np.ndarray, " t"]
    values: Float[np.ndarray, "t h w"]
    affine: Float[np.ndarray, "2 3"]
    size: tuple[int, int]
    windows: tuple[int, ...] = ()

    @property
    def peak(self) -> float:
        """The greatest absolute value: drawn at full intensity in every picture of this source."""
        return float(np.abs(self.values).max(initial=0.0))

    @property
    def signed(self) -> bool:
        """Whether evidence against the score is strong enough to be drawn."""
        return float(self.values.min(initial=0.0)) <= -min(LEVELS) * self.peak < 0

    @property
    def reach_s(self) -> float:
        """How far in seconds a sampled frame's map stands for the frames around it."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    def at(self, time: float) -> Float[np.ndarray, "h w"] | None:
        """The map of the sampled frame nearest in time, at source pixels; None where none is near."""
        nearest = int(np.abs(self.times - time).argmin())
        if abs(float(self.times[nearest]) - time) > self.reach_s:
            return None
        return resize_map(self.values[nearest : nearest + 1], self.affine, self.size)[0]

    def shown(self, case: Case | None) -> list[float]:
        """The times that a contact sheet shows of a case, or of everything explained."""
        weights = np.clip(self.values, 0, None).sum(axis=(1, 2))
        if case is None or case.event is not None:
            picked = pick_frames(self.times.tolist(), weights.tolist(), event=case.event if case else None)
            return self.times[picked].tolist()
        held = case.holds(self.times)  # nothing around it: that may be an alarm's
        return self.times[held][pick_frames(self.times[held].tolist(), weights[held].tolist())].tolist()


def draw(folder: Path, source: Source, placed: PlacedMaps, page: Page, cases: Sequence[Case]) -> None:
    """Write all files into `folder`; the sheet of an explained case is called `sheet_of(case)`.

    The source is decoded once; memory does not grow with its length. Each file is written aside and then renamed.
    """
    shown = {SHEET: placed.shown(None)}
    shown |= {sheet_of(case): placed.shown(case) for case in cases if case.holds(placed.times).any()}
    kept: dict[float, UInt8[np.ndarray, "h w 3"]] = {}
    _save_maps(folder / MAPS, placed)
    _save_contours(folder / CONTOURS, placed)
    wanted = {time for times in shown.values() for time in times}
    with closing(_explained(source, placed, page, wanted, kept)) as frames:
        pictures, times = tee(frames)  # read in step, so that one frame is held
        write_movie(folder / MOVIE, annotated(page, pictures), (time for _, time, _ in times))
    key = legend(page.renderer, placed.peak, width=800, height=28, signed=page.signed, ground=(255, 255, 255))
    for name, chosen in shown.items():
        seen = [time for time in chosen if time in kept]
        captions = [f"{timecode(time)}   {page.measure} {number(_score(page, time))}" for time in seen]
        write_sheet(
            folder / name, [kept[time] for time in seen], captions, title=page.name, text=page.evidence, legend=key
        )


def sheet_of(case: Case) -> str:
    """The file name of a case's contact sheet: that of everything where the case is the whole source."""
    return f"{case.name}.jpg" if case.event is not None or case.others else SHEET


def _explained(
    source: Source, placed: PlacedMaps, page: Page, wanted: Container[float], kept: dict[float, np.ndarray]
) -> Generator[Explained]:
    """The frames near an explained one, with their maps; those at a wanted time are drawn and kept."""
    peak = placed.peak if page.renderer.scope == "clip" else None
    for frame in source:
        if float(np.abs(placed.times - frame.time).min()) > AROUND_S:
            continue
        values = placed.at(frame.time)
        if frame.time in wanted and values is not None:
            kept[frame.time] = page.renderer(frame.pixels[None], values[None], peak=peak)[0]
        yield frame.pixels, frame.time, values


def _score(page: Page, time: float) -> float:
    return page.scores[max(bisect_right(page.times, time + 1e-9) - 1, 0)]


def _save_maps(path: Path, placed: PlacedMaps) -> None:
    """`values` float32 (t, h, w), `times` in seconds, `affine` (2, 3) from grid (x, y) to pixels, `size`, `windows`."""
    with written_aside(path) as aside:
        np.savez_compressed(
            aside,
            values=placed.values,
            times=placed.times,
            affine=placed.affine,
            size=np.array(placed.size),
            windows=np.array(placed.windows, dtype=np.int64),
        )


def _save_contours(path: Path, placed: PlacedMaps) -> None:
    """The polygons of every explained frame; frame by frame, so that full-size maps are not held together."""
    found: list[Contour] = []
    for t in range(len(placed.times)):
        pixels = resize_map(placed.values[t : t + 1], placed.affine, placed.size)
        found += contours(pixels, peak=placed.peak, first=t)
    with written_aside(path) as aside:
        told = to_json(found, placed.times.tolist(), placed.size)
        aside.write_text(json.dumps(told, allow_nan=False), encoding="utf-8")
