"""What do the layers of a trained detector respond to? Activation maps of a clip, and inputs that excite each channel.

    .venv/bin/python examples/look_inside.py demo-out/detector demo-out/data/scenes/clips/scene-00.mp4 inside

Writes activations.png and filters.png. These explain units, not decisions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from vidence import load_detector, open_source
from vidence.attribution import FeatureVisualisation, activation_maps
from vidence.render.heatmap import overlay
from vidence.render.sheet import write_sheet

CHANNELS = 12


def main(folder: str, video: str, out: str) -> None:
    """Draw both sheets."""
    detector = load_detector(folder)
    network = detector.network
    if network is None:
        raise SystemExit(f"{folder} holds a detector without a network")
    clip = next(detector.windows.cut(open_source(video)))
    x = detector.prepare(clip)
    maps = activation_maps(network, x, count=CHANNELS).cpu().numpy()  # (s, k, h, w)
    middle = len(maps) // 2
    frame = (x[0, :, middle].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
    pictures = [overlay(frame[None], _sized(each, frame.shape[:2])[None])[0] for each in maps[middle]]
    write_sheet(Path(out) / "activations.png", pictures, [f"channel {k}" for k in range(len(pictures))])
    found = FeatureVisualisation(size=frame.shape[0], frames=1)(network, range(CHANNELS)).cpu().numpy()
    filters = [(each[:, 0].transpose(1, 2, 0) * 255).astype(np.uint8) for each in found]
    write_sheet(Path(out) / "filters.png", filters, [f"channel {k}" for k in range(len(filters))])


def _sized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map at the network's input size."""
    import cv2

    return cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
