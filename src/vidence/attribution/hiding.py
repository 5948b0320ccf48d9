"""What the score would be without the marked region: measured, not inferred."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from vidence.frames.clip import Clip
from vidence.models.detector import Detector
from vidence.record.evidence import HiddenScore

FILL = "the clip's median picture, blurred"
_SHIFTS = ((0.5, 0.5), (0.0, 0.5), (0.5, 0.0))  # of the picture's height and width


def hidden_score(
    detector: Detector, clip: Clip, region: Bool[np.ndarray, "t h w"], *, before: Sequence[Clip] = ()
) -> HiddenScore | None:
    """The detector's score with `region` (in the clip's own pixels) hidden; None where nothing is marked.

    The control hides the same shape elsewhere: moved by half the picture, round its edges; the mean of three moves.
    A move that would cover part of the region again hides the rest of it only. What a hidden place shows is the
    detector's `reference(clip)` where it has one. `before` are the windows that came before, oldest first, as far as
    the detector's live scores depend on them; what they share with the clip is hidden there too.
    """
    if not region.any():
        return None
    own = getattr(detector, "reference", lambda clip: None)(clip)
    fill, words = (_fill(clip.pixels), FILL) if own is None else own
    moved = [_moved(region, down, across) & ~region for down, across in _SHIFTS]
    scores = [_score(detector, clip, _hidden(clip, each, fill), before) for each in (region, *filter(np.any, moved))]
    control = float(np.mean(scores[1:])) if len(scores) > 1 else None
    return HiddenScore(value=scores[0], share=float(region.mean()), fill=words, control=control)


def _fill(pixels: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """What moves leaves the median; what stands still is blurred beyond recognition."""
    middle = np.median(pixels, axis=0).astype(np.uint8)
    return cv2.GaussianBlur(middle, (0, 0), max(middle.shape[:2]) / 12, borderType=cv2.BORDER_REFLECT)


def _moved(region: Bool[np.ndarray, "t h w"], down: float, across: float) -> Bool[np.ndarray, "t h w"]:
    height, width = region.shape[1:]
    return np.roll(region, (round(down * height), round(across * width)), axis=(1, 2))


def _hidden(
    clip: Clip, region: Bool[np.ndarray, "t h w"], fill: UInt8[np.ndarray, "*t h w 3"]
) -> UInt8[np.ndarray, "t h w 3"]:
    return np.where(region[..., None], fill, clip.pixels)


def _score(detector: Detector, clip: Clip, pixels: UInt8[np.ndarray, "t h w 3"], before: Sequence[Clip]) -> float:
    """The score of the clip with other pixels, after the windows before it."""
    session = detector.start()
    changed = dict(zip(clip.times, pixels, strict=True))
    for each in before:
        shown = np.stack([changed.get(time, frame) for time, frame in zip(each.times, each.pixels, strict=True)])
        session.push(Clip(each.ref, shown))
    return float(session.push(Clip(clip.ref, pixels)).values.max())
