"""A window's own evidence as a picture: what decided beside the nearest of what is normal."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from vidence.aside import written_aside

CAPTION = "the place that decided, and right of the white bar the most similar that was seen in training"


def write_examples(path: Path, pixels: UInt8[np.ndarray, "h w 3"]) -> Path:
    """Write an RGB picture as a PNG file; returns its path."""
    with written_aside(path) as aside:
        aside.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())
    return path
