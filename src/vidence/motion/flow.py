"""Dense optical flow between neighbouring frames (Farnebäck, SCIA 2003; DIS: Kroeger et al., ECCV 2016), and points
that follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from vidence.errors import ShapeError
from vidence.motion.luma import LUMA

PYRAMID, LEVELS, WINDOW, ROUNDS, NEIGHBOURS, SIGMA = 0.5, 3, 15, 3, 5, 1.2  # as in Uchiyama et al., WACV 2023

Between = Callable[[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]], Float32[np.ndarray, "h w 2"]]


def _farneback(now: UInt8[np.ndarray, "h w"], other: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 2"]:
    flow = np.zeros((*now.shape, 2), np.float32)
    cv2.calcOpticalFlowFarneback(now, other, flow, PYRAMID, LEVELS, WINDOW, ROUNDS, NEIGHBOURS, SIGMA, 0)
    return flow


def _dis(preset: int) -> Between:
    made = cv2.DISOpticalFlow.create(preset)
    return lambda now, other: made.calc(now, other, np.zeros((*now.shape, 2), np.float32))


FLOWS: dict[str, Callable[[], Between]] = {
    "dis": lambda: _dis(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
    "dis-fast": lambda: _dis(cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "farneback": lambda: _farneback,
}
"""Makes what says, for each pixel (x, y) of one gray picture, how many pixels further it lies in another. A DIS object
keeps buffers: one a thread.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Points through time: `places` (b, t, 2), row and column in whole pixels; `alive` (b, t), where a point is one."""

    places: Float[Tensor, "b t 2"]
    alive: Bool[Tensor, "b t"]


def dense_flow(x: Float[Tensor, "c t h w"]) -> Float[Tensor, "s 2 h w"]:
    """Where each pixel of a frame is in the next: (t - 1, 2, h, w), rows and columns in pixels; on x's device.

    x is RGB or gray in [0, 1]; of other channels the mean is taken.
    """
    if x.ndim != 4:
        raise ShapeError(f"x must be one clip (c, t, h, w); got {tuple(x.shape)}. Take x[i] of a batch.")
    frames = np.moveaxis(x.detach().float().clamp(0, 1).cpu().numpy(), 0, -1)  # (t, h, w, c)
    gray = frames @ np.array(LUMA, np.float32) if frames.shape[-1] == len(LUMA) else frames.mean(axis=-1)
    pixels = np.rint(255 * gray).astype(np.uint8)
    flow = np.zeros((len(pixels) - 1, *pixels.shape[1:], 2), np.float32)
    for step, (now, following) in enumerate(pairwise(pixels)):
        flow[step] = _farneback(now, following)
    return rearrange(torch.from_numpy(flow[..., ::-1].copy()), "s h w d -> s d h w").to(x.device)


def followed(flow: Float[Tensor, "s 2 h w"], starts: Float[Tensor, "b 2"], *, first: int = 0) -> Tracks:
    """Points that begin at `starts` (row, column) of frame `first` and move with the flow, until they leave the frame.

    `flow` (t - 1, 2, h, w); a point that is not alive stays at its last place in the frame.
    """
    size = torch.tensor(flow.shape[2:], device=flow.device)
    t = len(flow) + 1
    place = starts.to(flow).round()
    inside = torch.ones(len(place), dtype=torch.bool, device=flow.device)
    places, alive = place[:, None].repeat(1, t, 1), torch.zeros(len(place), t, dtype=torch.bool, device=flow.device)
    alive[:, first] = inside
    for frame in range(first, t - 1):  # each step needs the one before
        rows, columns = place.long().unbind(dim=1)
        moved = (place + flow[frame, :, rows, columns].T).round()
        inside = inside & ((moved >= 0) & (moved < size)).all(dim=1)
        place = torch.where(inside[:, None], moved, place)
        places[:, frame + 1], alive[:, frame + 1] = place, inside
    return Tracks(places, alive)


def carried(labels: Tensor, back: Float[Tensor, "s 2 h w"]) -> Tensor:
    """Labels (h, w) of the first frame in every frame, (t, h, w): a pixel takes that of the pixel it came from.

    `back` is the flow from each frame to the one *before*, (t - 1, 2, h, w), so that no pixel is left without a label.
    """
    h, w = labels.shape
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    grid = torch.stack([rows, columns]).to(back)
    found = [labels]
    for step in back:
        came = (grid + step).round().long()
        found.append(found[-1][came[0].clamp(0, h - 1), came[1].clamp(0, w - 1)])
    return torch.stack(found)
