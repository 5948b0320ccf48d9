"""The pictures of a comparison: how maps rank under each measure, and what they show of a few clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from vidence.aside import written_aside
from vidence.datasets.dataset import Sample
from vidence.evaluate.explained_clips import KnownClip, Place
from vidence.evaluate.leaderboard import Standing
from vidence.evaluate.pooled_maps import pooled
from vidence.frames.transforms import Fit, resize, resize_map
from vidence.record.provenance import digest
from vidence.render.lettering import ALARM, INK, RULE, blank
from vidence.render.ramp import STEPS, TOWARDS
from vidence.render.renderer import HeatmapWithContours
from vidence.render.sheet import JPEG_QUALITY

SHOWN = 3  # clips
WIDTH = 320
GRID = 32  # cells a side that every map is averaged over before it is drawn: lone strong pixels would leave no trace
STRIP = 14  # pixels under a picture: how strong each frame is
ABOUT = "about.json"


def chosen(places: Sequence[Place], count: int = SHOWN) -> tuple[Place, ...]:
    """The clips that are shown: the first drawn in which something happens, each of another source; else the first."""
    loud: dict[Sample, Place] = {}
    for place in places:
        if place.event:
            loud.setdefault(place.sample, place)
    return tuple(loud.values() if loud else places)[:count]


def example_name(place: Place) -> str:
    """The folder of a clip's pictures; sources of one name, in folders of their own, have different ones."""
    whole = digest([str(place.sample.path), place.sample.label, place.sample.frames])
    return f"{Path(place.sample.path).stem}-{place.first}-{whole[:6]}"


class Examples:
    """Pictures of some clips, written below `folder` as maps are drawn; others are passed over."""

    def __init__(self, folder: Path, places: Sequence[Place], fit: Fit) -> None:
        self._folder, self._places, self._fit = folder, places, fit

    def keep(self, known: KnownClip, line: str, values: Float[np.ndarray, "t h w"]) -> None:
        """Draw one map of a clip, and at the first one the clip and its truth."""
        if known.place not in self._places:
            return
        folder, frame = self._folder / example_name(known.place), told_frame(known)
        about = folder / ABOUT
        held = json.loads(about.read_text(encoding="utf-8")) if about.exists() else self._begun(folder, known, frame)
        name = f"{digest(line)[:12]}.jpg"
        _write(folder / name, picture(known, values, self._fit, frame))
        held["maps"][line] = name
        with written_aside(about) as aside:
            aside.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")

    def _begun(self, folder: Path, known: KnownClip, frame: int) -> dict[str, Any]:
        _write(folder / "input.jpg", picture(known, None, self._fit, frame))
        _write(folder / "truth.jpg", picture(known, None, self._fit, frame, outlined=True))
        return {
            "source": Path(known.place.sample.path).name,
            "label": known.label,
            "known": known.known,
            "time": known.clip.times[frame],
            "grid": GRID,
            "maps": {},
        }


def told_frame(known: KnownClip) -> int:
    """The frame in which most of the event is to be seen; the middle one where that is not known."""
    if known.mask is None or known.known != "pixels" or not known.mask.any():
        inside = np.arange(len(known.clip.times)) if known.mask is None else np.flatnonzero(known.mask.any(axis=(1, 2)))
        return int(inside[len(inside) // 2]) if len(inside) else len(known.clip.times) // 2
    return int(known.mask.sum(axis=(1, 2)).argmax())


def picture(
    known: KnownClip, values: Float[np.ndarray, "t h w"] | None, fit: Fit, frame: int, *, outlined: bool = False
) -> UInt8[np.ndarray, "h w 3"]:
    """One frame of a clip, under its map where there is one, averaged over `GRID` x `GRID` cells, with the truth
    `outlined` where that is of pixels; below it, frame by frame, how much of the map's positive mass lies there, the
    shown frame ticked, the event underlined.
    """
    pixels = known.clip.pixels[frame]
    drawn = resize(pixels, (round(WIDTH * pixels.shape[0] / pixels.shape[1]), WIDTH))
    if values is not None:
        draw = HeatmapWithContours(scope="frame")  # how strong the frame is among the others, the strip says
        placed = _placed(pooled(values[frame : frame + 1], GRID), fit, pixels.shape[:2], drawn.shape[:2])
        drawn = draw(drawn[None], placed[None])[0]
    if outlined and known.mask is not None and known.known == "pixels":
        inside = _placed(known.mask[frame : frame + 1].astype(np.float32), fit, pixels.shape[:2], drawn.shape[:2])
        lines, _ = cv2.findContours((inside >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        drawn = cv2.drawContours(drawn.copy(), lines, -1, ALARM, 2)
    return np.concatenate([drawn, _strip(known, values, frame)])


def _placed(
    values: Float[np.ndarray, "1 i j"], fit: Fit, source: tuple[int, ...], size: tuple[int, ...]
) -> Float[np.ndarray, "h w"]:
    """What lies on the network's input, over a picture of the `source`'s size (h, w) that is shown in another `size`.

    Lines that are drawn there are as wide in a picture that was shrunk as in one that was enlarged.
    """
    height, width = source
    affine = fit.to_source((height, width), (values.shape[1], values.shape[2]))
    return cv2.resize(resize_map(values, affine, (height, width))[0], size[::-1], interpolation=cv2.INTER_LINEAR)


def _strip(known: KnownClip, values: Float[np.ndarray, "t h w"] | None, frame: int) -> UInt8[np.ndarray, "h w 3"]:
    count = len(known.clip.times)
    made = blank(STRIP, WIDTH)
    made[2 : STRIP - 4] = RULE
    ends = np.linspace(0, WIDTH, count + 1).round().astype(int)
    if values is not None:
        mass = np.maximum(values, 0).sum(axis=(1, 2))
        shares = mass / mass.max() if mass.max() > 0 else mass
        for t, share in enumerate(shares):
            if share > 0:
                made[2 : STRIP - 4, ends[t] : ends[t + 1]] = TOWARDS[round(float(share) * (STEPS - 1))]
    for t, mask in enumerate(() if known.mask is None else known.mask):
        if mask.any():
            made[STRIP - 3 :, ends[t] : ends[t + 1]] = ALARM
    made[:2, ends[frame] : ends[frame + 1]] = INK
    return made


def write_ranks(path: Path, standings: Sequence[Standing], order: Sequence[str]) -> bool:
    """Mean ranks as an SVG: a row per map, in an `order`, maps that it lacks last; a column per measure. Returns False
    where none has a rank.
    """
    ranked = [each for each in standings if each.rank is not None]
    measures = list(dict.fromkeys(each.measure for each in ranked))
    ranks = {(each.explainer, each.measure): each.rank or 0.0 for each in ranked}
    if not ranks:
        return False
    held = {each.explainer for each in ranked}
    maps = list(dict.fromkeys([*(line for line in order if line in held), *(each.explainer for each in ranked)]))
    controls = {each.explainer for each in ranked if each.control}
    grid = np.array([[ranks.get((line, measure), np.nan) for measure in measures] for line in maps])
    with matplotlib.rc_context({"svg.hashsalt": "ranks", "svg.fonttype": "path"}):
        figure = Figure(figsize=(2.6 + 0.95 * len(measures), 1.5 + 0.34 * len(maps)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.imshow(grid, cmap="cividis_r", vmin=1, vmax=len(maps), aspect="auto")
        for (row, column), rank in np.ndenumerate(grid):
            if not np.isnan(rank):
                dark = rank > (1 + len(maps)) / 2
                colour = "white" if dark else "black"
                axes.text(column, row, f"{rank:.1f}", ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(measures)), measures, rotation=35, ha="right", fontsize=8)
        axes.set_yticks(range(len(maps)), [f"{line} (control)" if line in controls else line for line in maps])
        axes.tick_params(axis="y", labelsize=8)
        axes.set_title("mean place among all maps, 1 the best", fontsize=9)
        with written_aside(path) as aside:
            figure.savefig(aside, format="svg", metadata={"Date": None})
    return True


def _write(path: Path, drawn: UInt8[np.ndarray, "h w 3"]) -> None:
    with written_aside(path) as aside:
        Image.fromarray(drawn).save(aside, format="JPEG", quality=JPEG_QUALITY)
