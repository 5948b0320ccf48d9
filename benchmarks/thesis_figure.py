"""Figure 4.19 of Ravi's thesis on magnetic tiles: input, reconstruction, and five explanations, normal and anomalous.

    .venv/bin/python benchmarks/thesis_figure.py DETECTOR ROOT [--defect break] [--out gallery/figure-4-19.png]

DETECTOR is a folder of an autoencoder trained on magnetic tiles, ROOT the data set. Shown are tiles that the detector
has not seen: of the normal ones that with the median score, and of each `--defect` (may be repeated) the one with the
median score of those that raise an alarm, or of all where none does; how many do is printed. What is
explained is the thesis' layer, `normalised-error`, on the scale of the detector's own normal footage; the thesis' scale
and threshold came from anomalous test images. Every map has its own scale; the outline is the published mask. Printed
is, per map, the share of positive evidence inside the mask, and how often that is the mask's share of the picture.
The pictures are the data set's: they belong into an ignored folder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track

from vidence.attribution.explainer import Attributions
from vidence.datasets.dataset import Sample
from vidence.datasets.magnetic_tile import MagneticTile
from vidence.frames.clip import Clip
from vidence.models.detector import load_detector
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.pipeline import explain
from vidence.render.heatmap import overlay
from vidence.render.sheet import write_sheet
from vidence.scoring.decisions import threshold_of

COLUMNS = {
    "residual": "residual",
    "epsilon-LRP": "lrp(composite='epsilon')",
    "LIME": "lime",
    "SHAP": "kernel-shap",
    "counterfactual": "counterfactual-box",
}
SCORE = "normalised-error"
OUTLINE, BOX = (0, 200, 255), (255, 210, 0)


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile as the network sees it: pixels (h, w, 3), the mask of its defect, its live score."""

    sample: Sample
    clip: Clip
    score: float

    def seen(self, detector: ReconstructionDetector) -> np.ndarray:
        """The network's input, uint8 (h, w, 3)."""
        return _bytes(detector.prepare(self.clip)[0, :, 0])

    def mask(self, dataset: MagneticTile, detector: ReconstructionDetector) -> np.ndarray:
        """Where the defect is, bool (h, w); nowhere of a normal tile."""
        held = dataset.truth(self.sample, 1).masks
        if held is None:
            return np.zeros((detector.fit.size, detector.fit.size), dtype=bool)
        drawn = np.repeat(held[..., None], 3, axis=-1).astype(np.uint8) * 255
        return (detector.fit(Clip(self.clip.ref, drawn))[0, 0, 0] > 0.5).numpy()


def typical(detector: ReconstructionDetector, samples: list[Sample], label: str, *, alarmed: bool) -> Tile:
    """The tile of a label with the median score; of an `alarmed` one, among those above the threshold if there are."""
    asked = [each for each in samples if each.label == label]
    scored = []
    for sample in track(asked, f"scoring {label}", console=Console(stderr=True), transient=True):
        clip = next(iter(detector.windows.cut(sample.open())))
        scored.append(Tile(sample, clip, float(detector.start().push(clip).values.max())))
    above = [tile for tile in scored if tile.score > threshold_of(detector, None)]
    print(f"{label}: {len(above)} of {len(scored)} unseen tiles raise an alarm")
    chosen = above if alarmed and above else scored
    return sorted(chosen, key=lambda tile: tile.score)[len(chosen) // 2]


def row(detector: ReconstructionDetector, dataset: MagneticTile, tile: Tile) -> Iterator[tuple[np.ndarray, str]]:
    """The pictures of one tile with their captions."""
    seen, mask = tile.seen(detector), tile.mask(dataset, detector)
    name = f"{tile.sample.label}: {Path(tile.sample.path).stem}"
    print(f"\n{name}, live score {tile.score:.3f}, threshold {threshold_of(detector, None):.3f}")
    yield outlined(seen, mask), f"{name}, score {tile.score:.2f}"
    yield _bytes(detector.output(detector.prepare(tile.clip)).x_hat[0, :, 0]), "reconstruction"
    for caption, line in COLUMNS.items():
        begun = time.monotonic()
        found = explain(detector, tile.clip, explainer=line, score=SCORE, certify=False)
        values = F.interpolate(found.values, seen.shape[:2], mode="bilinear")[0].cpu().numpy()
        picture = outlined(overlay(seen[None], values)[0], mask)
        report(caption, found, values[0], mask, time.monotonic() - begun)
        if "boxes" in found.extra:
            _, _, top, left, bottom, right = found.extra["boxes"][0]
            cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), BOX, 1)
            caption = f"{caption}: {found.extra['score']:.2f} to {found.extra['counterfactual_score']:.2f}"
        yield picture, caption


def report(caption: str, found: Attributions, values: np.ndarray, mask: np.ndarray, seconds: float) -> None:
    """Print what one map says in figures."""
    positive = np.clip(values, 0, None)
    inside = ""
    if mask.any() and positive.any():
        share, area = positive[mask].sum() / positive.sum(), mask.mean()
        inside = f", {share:.1%} of the positive evidence inside the mask of {area:.1%} ({share / area:.1f} x)"
    print(f"  {caption}: {seconds:.1f} s{inside}")
    for words in (*found.certificate.flags, *([found.extra["sentence"]] if "sentence" in found.extra else [])):
        print(f"    {words}")


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the mask's edge."""
    shapes, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(picture.copy(), shapes, -1, OUTLINE, 1)


def _bytes(picture: torch.Tensor) -> np.ndarray:
    shown = (picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.repeat(shown, 3 // shown.shape[2], axis=2))


def main() -> None:
    """Choose, explain, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--defect", action="append", choices=("blowhole", "break", "crack", "fray", "uneven"))
    parser.add_argument("--seed", type=int, default=0, help="of the split that the detector was trained with")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("gallery/figure-4-19.png"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    detector = load_detector(asked.detector)
    if not isinstance(detector, ReconstructionDetector):
        raise SystemExit(f"the figure needs an autoencoder; {asked.detector} holds {type(detector).__name__}.")
    dataset = MagneticTile(str(asked.root))
    _, _, test = dataset.normal_split(asked.seed)
    tiles = [typical(detector, test, "free", alarmed=False)]
    tiles += [typical(detector, test, label, alarmed=True) for label in asked.defect or ["break"]]
    cells = [cell for tile in tiles for cell in row(detector, dataset, tile)]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    title = "Figure 4.19 of Ravi's thesis, rebuilt on magnetic tiles"
    text = f"explained: {SCORE} of {detector.spec}; every map on its own scale, warm = towards the anomaly"
    pictures, captions = zip(*cells, strict=True)
    write_sheet(asked.out, pictures, captions, title=title, text=text, columns=2 + len(COLUMNS))
    print(f"\n{asked.out}")


if __name__ == "__main__":
    main()
