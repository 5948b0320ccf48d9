"""The two ways from errors to scores: `paper`, which sees whole videos first, and `live`, which a camera could use.

`paper` (Ravi's thesis, section 4.4): per video, regularity 1 - (e - min) / (max - min), smoothed, videos concatenated.
It is not causal, and by its arithmetic every video holds a frame that is as anomalous as can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import savgol_filter

from vidence.errors import SpecError
from vidence.evaluate.detection import frame_auc

Protocol = Literal["live", "paper"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
SMOOTHED = 15  # frames of the Savitzky-Golay window, of order 1

Errors = Sequence[Float[np.ndarray, " t"]]


def other(protocol: Protocol) -> Protocol:
    """The one that it is compared with. Raises `SpecError` for what is no protocol."""
    if protocol not in PROTOCOLS:
        raise SpecError(f"a protocol is one of {', '.join(PROTOCOLS)}; got {protocol!r}.")
    return "paper" if protocol == "live" else "live"


def smoothed(values: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """Savitzky-Golay of order 1 over 15 frames, over fewer where the video is shorter; the result is not clipped."""
    window = min(SMOOTHED, len(values))
    window -= window % 2 == 0
    return values if window < 3 else savgol_filter(values, window, 1)


def scaled(errors: Float[np.ndarray, " t"], low: float, high: float) -> Float[np.ndarray, " t"]:
    """Errors brought to 0 at `low` and 1 at `high`; 0 where the two are one."""
    return (errors - low) / (high - low) if high > low else np.zeros(len(errors))


def paper_scores(videos: Errors) -> list[Float[np.ndarray, " t"]]:
    """1 - smoothed regularity of each video, normalised by its own errors (the thesis' `agg`).

    Single pictures have no range of their own: where there is nothing but pictures, their errors are the scores.
    """
    if all(len(errors) <= 1 for errors in videos):
        return list(videos)
    return [smoothed(scaled(errors, errors.min(), errors.max())) if len(errors) else errors for errors in videos]


def overall_scores(videos: Errors) -> list[Float[np.ndarray, " t"]]:
    """The same with one range for all videos of the test (the thesis' `overall`)."""
    whole = np.concatenate(videos)
    if all(len(errors) <= 1 for errors in videos):
        return list(videos)
    return [smoothed(scaled(errors, whole.min(), whole.max())) for errors in videos]


def mean_auc(truths: Sequence[Bool[np.ndarray, " t"]], videos: Errors) -> float | None:
    """The mean of the videos' own AUCs (the thesis' `mean`); videos without both kinds of frames are left out."""
    found = [frame_auc(truth, scores) for truth, scores in zip(truths, paper_scores(videos), strict=True)]
    held = [auc for auc in found if auc is not None]
    return float(np.mean(held)) if held else None
