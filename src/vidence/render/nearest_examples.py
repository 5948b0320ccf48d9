"""A window's own evidence as a picture: what decided beside the nearest of what is normal."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from vidence.aside import written_aside
from vidence.scoring.cases import Case


def examples_of(case: Case) -> str:
    """The file name of a case's examples."""
    return f"examples-{case.name}.png"


def write_examples(path: Path, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an RGB picture as a PNG file."""
    with written_aside(path) as aside:
        aside.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())
