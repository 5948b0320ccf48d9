"""What a network expected to see instead of a clip's frames, brought back to the source's own pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor

from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit, resize_map
from vidence.models.reconstruction import Reconstruction, density, parts, scored_frames
from vidence.motion.luma import LUMA

GRAY = 96  # of a picture where nothing was expected


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """The scored frames of a clip, cut to what the network sees, at the source's resolution.

    `times` (s,) in seconds; `seen` is RGB, or the gray that the network got of it; `expected` holds "reconstruction",
    "prediction" or both, plain gray in frames that a head is silent about; `residual` is the root mean square
    difference over the channels, in shares of the full range; `attention` is an input-attention mask as the network
    gave it, None without one. `box` is (top, left, height, width) in the source.
    """

    times: Float64[np.ndarray, " s"]
    seen: UInt8[np.ndarray, "s h w 3"]
    expected: Mapping[str, UInt8[np.ndarray, "s h w 3"]]
    residual: Float32[np.ndarray, "s h w"]
    attention: Float32[np.ndarray, "s h w"] | None
    box: tuple[int, int, int, int]

    def reference(self, clip: Clip) -> tuple[UInt8[np.ndarray, "t h w 3"], str]:
        """The clip's frames as they would look without anything unexpected, and what that is in words.

        Black or blur would be a new anomaly to a network that reconstructs: it gets its own reconstruction. To one that
        predicts, it is motion that is unexpected: it gets the median picture.
        """
        if set(self.expected) != {"reconstruction"} or len(self.times) != len(clip.times):
            still = np.median(clip.pixels, axis=0).astype(np.uint8)
            return np.broadcast_to(still, clip.pixels.shape), "the clip's median picture"
        pixels = clip.pixels.copy()
        top, left, height, width = self.box
        pixels[:, top : top + height, left : left + width] = self.expected["reconstruction"]
        return pixels, "what the network reconstructed"


def expectation(output: Reconstruction, x: Float[Tensor, "1 c t h w"], clip: Clip, fit: Fit) -> Expectation:
    """Bring one clip's reconstruction back to the pixels that `fit` made x of."""
    first, last = scored_frames(output)
    size = (clip.pixels.shape[1], clip.pixels.shape[2])
    top, left, height, width = fit.seen(size)
    affine = fit.to_source(size, (x.shape[3], x.shape[4])) - [[0, 0, left], [0, 0, top]]

    def at_source(values: Float[Tensor, "s h w"]) -> Float32[np.ndarray, "s h w"]:
        return resize_map(values.detach().float().cpu().numpy(), affine, (height, width))

    expected, attention = {}, None
    for part in parts(output):
        name = "prediction" if part.first_frame or part is output.prediction else "reconstruction"
        place = slice(part.first_frame - first, part.first_frame - first + part.x_hat.shape[2])
        pictures = np.full((last - first, height, width, 3), GRAY, dtype=np.uint8)
        channels = [at_source(each) for each in part.x_hat[0].clamp(0, 1)]
        pictures[place] = _pixels(np.stack(channels * (3 // len(channels)), axis=-1) * 255)
        expected[name] = pictures
        if part.attention is not None:
            attention = np.zeros((last - first, height, width), dtype=np.float32)
            attention[place] = at_source(part.attention[0])
    seen = clip.pixels[first:last, top : top + height, left : left + width]
    if output.x_hat.shape[1] == 1:
        seen = _pixels(np.repeat((seen @ np.array(LUMA))[..., None], 3, axis=-1))
    return Expectation(
        times=np.asarray(clip.times[first:last], dtype=np.float64),
        seen=seen,
        expected=expected,
        residual=at_source(torch.sqrt(density(output, x, "squared-error")[0, first:last] / output.x_hat.shape[1])),
        attention=attention,
        box=(top, left, height, width),
    )


def _pixels(values: Float[np.ndarray, "s h w 3"]) -> UInt8[np.ndarray, "s h w 3"]:
    return np.rint(values).astype(np.uint8)
