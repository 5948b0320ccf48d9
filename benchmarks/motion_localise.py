"""Whether a detector that explains itself points at what is anomalous, on UCSD Ped2's masks.

    .venv/bin/python benchmarks/motion_localise.py DETECTOR --root PED2 [--alarms 10 --out gallery/motion]

Over the anomalous frames: the share of the map's mass inside the mask (chance: the mask's area share), how often the
highest cell lies inside (pointing game, also within half a cell of 18 pixels), and both for frames above the threshold.
`--alarms` writes that many pictures, spread evenly over the frames above the threshold, with the sentence printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.ndimage import binary_dilation

from vidence.datasets.opened import open_dataset
from vidence.frames.source import Source
from vidence.frames.transforms import resize_map
from vidence.models import load_detector

NEAR = 18  # pixels


class Pointed(NamedTuple):
    """One anomalous frame: shares of mass and area, whether the highest place is inside or near, and the score."""

    mass: float
    area: float
    inside: bool
    near: bool
    score: float


class Alarm(NamedTuple):
    """Where the window begins that a frame above the threshold is scored in; the source's masks by time."""

    source: Source
    first: int
    masks: dict[float, np.ndarray]


def frames(detector: Any, root: Path) -> Iterator[tuple[Pointed, Alarm]]:
    """Every anomalous frame of the test clips that has a moving cell."""
    dataset = open_dataset("ucsd-ped2", root=root)
    for sample in dataset.normal_split(0)[2]:
        source = sample.open()
        times = [frame.time for frame in source]
        drawn = dataset.truth(sample, len(times)).masks
        if drawn is None:  # nothing to point at
            continue
        masks = dict(zip(times, drawn, strict=True))
        session, told = detector.start(), []
        for clip in detector.windows.cut(source):
            scores = session.push(clip)
            told += [(seen, float(scores.values[k]), clip.ref.first) for k, seen in enumerate(session.seen)]
        for seen, score, first in told:
            cells, mask = seen.scores, masks[seen.time]
            if not mask.any() or not cells.any():
                continue
            size = mask.shape
            map_ = resize_map(cells[None], detector.fit.to_source(size, cells.shape), size)[0]
            top = np.unravel_index(int(map_.argmax()), size)
            near = binary_dilation(mask, iterations=NEAR)[top]
            pointed = Pointed(float(map_[mask].sum() / map_.sum()), float(mask.mean()), bool(mask[top]), near, score)
            yield pointed, Alarm(source, first, masks)


def draw(detector: Any, alarm: Alarm, path: Path) -> str:
    """Write the frame with the mask's edge in white, and the cell that decided in red; return the sentence."""
    clip = detector.windows.at(alarm.source, alarm.first)
    found = detector.evidence(clip)
    first = found.extra["observations"][0]
    picture = cv2.cvtColor(clip.pixels[clip.times.index(first["time"])], cv2.COLOR_RGB2BGR)
    edges = cv2.findContours(alarm.masks[first["time"]].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(picture, edges, -1, (255, 255, 255), 1)
    h, w = picture.shape[:2]
    x, y = round(first["column"] * w), round(first["row"] * h)
    cv2.rectangle(picture, (x - NEAR, y - NEAR), (x + NEAR, y + NEAR), (0, 0, 255), 2)
    examples = cv2.cvtColor(found.extra["examples"], cv2.COLOR_RGB2BGR)
    canvas = np.zeros((h + examples.shape[0], max(w, examples.shape[1]), 3), np.uint8)
    canvas[:h, :w], canvas[h:, : examples.shape[1]] = picture, examples
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), canvas)
    return str(found.extra["sentence"])


def main() -> None:
    """Print the figures, and draw alarms where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--alarms", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("gallery/motion"))
    asked = parser.parse_args()
    detector: Any = load_detector(asked.detector)
    limit = detector.threshold["value"]
    found = list(frames(detector, asked.root))
    for name, kept in (("anomalous", found), ("above threshold", [each for each in found if each[0].score > limit])):
        mass, area, inside, near, _ = np.array([each[0] for each in kept], dtype=float).mean(axis=0)
        print(
            f"{len(kept)} frames {name}: mass inside {mass:.3f} (area {area:.3f}), pointing {inside:.3f}, "
            f"near {near:.3f}"
        )
    above = [alarm for pointed, alarm in found if pointed.score > limit]
    for number, k in enumerate(np.linspace(0, len(above) - 1, asked.alarms).round().astype(int), 1):
        print(f"{number}: {above[k].source.name}: {draw(detector, above[k], asked.out / f'alarm-{number}.png')}")


if __name__ == "__main__":
    main()
