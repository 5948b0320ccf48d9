"""Does the map stay on what it marked, or does it flicker? (methods.md B.6; no published standard)

A constant map is perfectly steady: read these beside faithfulness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import spearmanr
from torch import Tensor

from vidence.errors import SpecError
from vidence.evaluate.cells import first_of, ranking
from vidence.evaluate.measure import Case, Measure
from vidence.motion.flow import dense_flow
from vidence.motion.warping import looked_up, reliable

Flow: TypeAlias = Float[Tensor, "s 2 h w"]


def flicker(values: Float[np.ndarray, "t h w"]) -> float | None:
    """Mean over neighbouring frames of |a' - a| / (|a| + |a'|), sums over pixels: 0 for a still map, 1 for frames that
    share no place. Two empty frames are still. None for a single frame and for a map that is zero.
    """
    return _changed(values[:-1], values[1:], np.ones(values[1:].shape, bool)) if values.any() else None


def warped_flicker(values: Float[np.ndarray, "t h w"], forward: Flow, backward: Flow) -> float | None:
    """`flicker` where the next frame's map is looked up along the flow, over pixels that pass `reliable`.

    `forward` leads from each frame to the next, `backward` from each next frame to it. None where no pixel passes.
    """
    return _changed(values[:-1], *_followed(values, forward, backward)) if values.any() else None


def warped_spearman(values: Float[np.ndarray, "t h w"], forward: Flow, backward: Flow) -> float | None:
    """Mean over neighbouring frames of Spearman's correlation of the map with the next frame's, looked up along the
    flow, over pixels that pass `reliable`: 1 where the order of the places moves with the picture, 0 for a next frame
    that is the same everywhere. None where no frame has two such pixels that differ.
    """
    found = []
    for now, moved, seen in zip(values[:-1], *_followed(values, forward, backward), strict=True):
        one, other = now[seen], moved[seen]
        if one.size and np.ptp(one) > 0:
            found.append(float(spearmanr(one, other).statistic) if np.ptp(other) > 0 else 0.0)
    return float(np.mean(found)) if found else None


def top_jaccard(values: Float[np.ndarray, "t h w"], share: float, rng: np.random.Generator) -> float | None:
    """Mean over neighbouring frames of the overlap over the union of their strongest `share` of places; equal ones are
    drawn. Frames that are the same everywhere have none; None without two neighbours that have.
    """
    rows = values.reshape(len(values), -1)
    counts = np.full(len(rows), max(1, round(share * rows.shape[1])))
    top = first_of(ranking(rows, rng), counts)  # (t, p)
    told = np.ptp(rows, axis=1) > 0
    pairs = told[:-1] & told[1:]
    if not pairs.any():
        return None
    common, either = (top[:-1] & top[1:]).sum(axis=1), (top[:-1] | top[1:]).sum(axis=1)
    return float((common / either)[pairs].mean())


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
        return None if case.x.shape[2] < 2 else warped_flicker(case.values, *_flows(case))


@dataclass(frozen=True)
class WarpedSpearman(Measure):
    """Does the order of the places move with the picture? Along the flow of `warped-flicker`."""

    aspect = "consistency"

    def of(self, case: Case) -> float | None:
        """As `warped_spearman`; None for an image."""
        return None if case.x.shape[2] < 2 else warped_spearman(case.values, *_flows(case))


@dataclass(frozen=True)
class TopJaccard(Measure):
    """How much of its strongest `share` of places a frame has in common with the next."""

    share: float = 0.1
    aspect = "consistency"

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 < self.share < 1:
            raise SpecError(f"share must lie in (0, 1); got {self.share!r}.")

    def of(self, case: Case) -> float | None:
        """As `top_jaccard`."""
        return top_jaccard(case.values, self.share, case.rng)


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


def _flows(case: Case) -> tuple[Flow, Flow]:
    """From each frame to the next, and back; one for all maps of the clip."""
    key = ("flows", id(case.x))
    if key not in case.shared:  # with the clip, whose number must not come again while the key stands
        clip = case.x[0].cpu()
        case.shared[key] = case.x, (dense_flow(clip), dense_flow(clip.flip(1)).flip(0))
    found: tuple[Flow, Flow] = case.shared[key][1]
    return found


def _followed(
    values: Float[np.ndarray, "t h w"], forward: Flow, backward: Flow
) -> tuple[Float[np.ndarray, "s h w"], Bool[np.ndarray, "s h w"]]:
    """What each next frame shows where the flow leads, and where the flow can be trusted."""
    following = torch.from_numpy(values[1:].astype(np.float32))[:, None].to(forward.device)  # (s, 1, h, w)
    return looked_up(following, forward)[:, 0].cpu().numpy(), reliable(forward, backward).cpu().numpy()


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
