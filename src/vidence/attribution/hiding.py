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


def hidden_score(detector: Detector, clips: Sequence[Clip], region: Bool[np.ndarray, "t h w"]) -> HiddenScore | None:
    """The detector's score of the last of `clips` with `region` hidden; None where nothing is marked.

    `clips` are windows, oldest first: those that the score depends on and the one that is scored. `region` is in their
    own pixels, over their `distinct` frames. The control hides the same shape elsewhere: moved by half the picture,
    round its edges; the mean of three moves. A move that would cover part of the region again hides the rest of it
    only. What a hidden place shows is the detector's `reference(clip)` where it has one.
    """
    if not region.any():
        return None
    seen = distinct(clips)
    fill, words = _fill(detector, clips)
    moved = [_moved(region, down, across) & ~region for down, across in _SHIFTS]
    scores = []
    for each in (region, *filter(np.any, moved)):
        pixels = np.where(each[..., None], [fill[time] for time in seen], list(seen.values()))
        scores.append(_score(detector, clips, dict(zip(seen, pixels, strict=True))))
    control = float(np.mean(scores[1:])) if len(scores) > 1 else None
    return HiddenScore(value=scores[0], share=float(region.mean()), fill=words, control=control)


def distinct(clips: Sequence[Clip]) -> dict[float, UInt8[np.ndarray, "h w 3"]]:
    """The frames of windows that may overlap, by their times in seconds, rising."""
    frames = {time: frame for clip in clips for time, frame in zip(clip.times, clip.pixels, strict=True)}
    return {time: frames[time] for time in sorted(frames)}


def _fill(detector: Detector, clips: Sequence[Clip]) -> tuple[dict[float, UInt8[np.ndarray, "h w 3"]], str]:
    """What each frame shows where it is hidden, and that in words."""
    own = [getattr(detector, "reference", lambda clip: None)(clip) for clip in clips]
    held = [(_blurred(clip.pixels), FILL) if each is None else each for clip, each in zip(clips, own, strict=True)]
    frames = {
        time: frame
        for clip, (fill, _) in zip(clips, held, strict=True)
        for time, frame in zip(clip.times, fill, strict=True)
    }
    return frames, held[-1][1]


def _blurred(pixels: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "t h w 3"]:
    """What moves leaves the median; what stands still is blurred beyond recognition."""
    middle = np.median(pixels, axis=0).astype(np.uint8)
    calm = cv2.GaussianBlur(middle, (0, 0), max(middle.shape[:2]) / 12, borderType=cv2.BORDER_REFLECT)
    return np.broadcast_to(calm, pixels.shape)


def _moved(region: Bool[np.ndarray, "t h w"], down: float, across: float) -> Bool[np.ndarray, "t h w"]:
    height, width = region.shape[1:]
    return np.roll(region, (round(down * height), round(across * width)), axis=(1, 2))


def _score(detector: Detector, clips: Sequence[Clip], shown: dict[float, UInt8[np.ndarray, "h w 3"]]) -> float:
    """The last window's score, with the frames that are `shown` at their times."""
    session = detector.start()
    for clip in clips:
        scores = session.push(Clip(clip.ref, np.stack([shown[time] for time in clip.times])))
    return float(scores.values.max())
