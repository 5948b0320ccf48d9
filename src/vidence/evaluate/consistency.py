"""Does the map stay on what it marked, or does it flicker? (methods.md B.6; no published standard)

A constant map is perfectly steady: read these beside faithfulness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vidence.evaluate.measure import Case, Measure
from vidence.motion.flow import dense_flow
from vidence.motion.warping import looked_up, reliable


def flicker(values: Float[np.ndarray, "t h w"]) -> float | None:
    """Mean over neighbouring frames of |a' - a| / (|a| + |a'|), sums over pixels: 0 for a still map, 1 for frames that
    share no place. Two empty frames are still. None for a single frame and for a map that is zero.
    """
    return _changed(values[:-1], values[1:], np.ones(values[1:].shape, bool)) if values.any() else None


def warped_flicker(
    values: Float[np.ndarray, "t h w"], forward: Float[Tensor, "s 2 h w"], backward: Float[Tensor, "s 2 h w"]
) -> float | None:
    """`flicker` where the next frame's map is looked up along the flow, over pixels that pass `reliable`.

    `forward` leads from each frame to the next, `backward` from each next frame to it. None where no pixel passes.
    """
    following = torch.from_numpy(values[1:].astype(np.float32))[:, None].to(forward.device)  # (s, 1, h, w)
    moved = looked_up(following, forward)[:, 0].cpu().numpy()
    seen = reliable(forward, backward).cpu().numpy()
    return _changed(values[:-1], moved, seen) if values.any() else None


@dataclass(frozen=True)
class Flicker(Measure):
    """How much of the map changes from frame to frame, in [0, 1]."""

    aspect = "consistency"
    better = "lower"

    def of(self, case: Case) -> float | None:
        """As `flicker`."""
        return flicker(case.values)


@dataclass(frozen=True)
class WarpedFlicker(Measure):
    """`flicker` of a map that may move with what it marks: along Farnebäck's flow, where that can be trusted."""

    aspect = "consistency"
    better = "lower"

    def of(self, case: Case) -> float | None:
        """As `warped_flicker`; None for an image."""
        if case.x.shape[2] < 2:
            return None
        clip = case.x[0].cpu()
        return warped_flicker(case.values, dense_flow(clip), dense_flow(clip.flip(1)).flip(0))


@dataclass(frozen=True)
class ExcessFlicker(Measure):
    """The map's `flicker` over that of the grey frames: above 1 it changes more than what it explains."""

    aspect = "consistency"
    better = "lower"

    def of(self, case: Case) -> float | None:
        """None where nothing moves."""
        own, frames = flicker(case.values), flicker(case.x[0].detach().float().mean(dim=0).cpu().numpy())
        return own / frames if own is not None and frames else None


@dataclass(frozen=True)
class CentroidJerk(Measure):
    """Mean second difference of the map's centre of mass |a|, in pixels of the network's input.

    Over runs of three frames that are not empty; None without any.
    """

    aspect = "consistency"
    better = "lower"

    def of(self, case: Case) -> float | None:
        """0 for a map that stands or moves evenly."""
        sizes = np.abs(case.values, dtype=np.float64)
        mass = sizes.sum(axis=(1, 2))
        held = mass > 0
        runs = held[:-2] & held[1:-1] & held[2:]
        if not runs.any():
            return None
        rows, columns = (np.arange(side) for side in sizes.shape[1:])
        moments = np.stack([sizes.sum(axis=2) @ rows, sizes.sum(axis=1) @ columns], axis=1)  # (t, 2)
        centres = moments / np.where(held, mass, 1)[:, None]
        jerk = np.linalg.norm(centres[2:] - 2 * centres[1:-1] + centres[:-2], axis=1)
        return float(jerk[runs].mean())


def _changed(
    now: Float[np.ndarray, "s h w"], following: Float[np.ndarray, "s h w"], seen: Bool[np.ndarray, "s h w"]
) -> float | None:
    """Mean over pairs, of their pixels that are seen; pairs of which none is are left out."""
    pairs = seen.any(axis=(1, 2))
    if not pairs.any():
        return None
    change = np.where(seen, np.abs(following - now), 0).sum(axis=(1, 2), dtype=np.float64)
    whole = np.where(seen, np.abs(following) + np.abs(now), 0).sum(axis=(1, 2), dtype=np.float64)
    return float((change / np.where(whole > 0, whole, 1))[pairs].mean())
