"""What autoencoders and predictors return, and how wrong a reconstruction is, per pixel and per frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, SpecError
from vidence.motion.luma import LUMA

SSIM_SIDE, SSIM_SIGMA, SSIM_K = 11, 1.5, (0.01, 0.03)  # Wang et al. 2004; range 1
ERRORS = ("squared-error", "absolute-error", "ssim", "psnr", "centre-distance")
PLACELESS = "centre-distance"  # the one error that is not spread over pixels
SUMMING = ("squared-error", "absolute-error", "ssim")  # those that are sums over pixels


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """An autoencoder's or a predictor's output for x (n, c, t, h, w).

    `x_hat` (n, c, s, h, w) in [0, 1], gray (c = 1) or RGB, stands for the frames `first_frame` to first_frame + s - 1.
    `code` (n, s, d) are the frames' embeddings, `distance` (n, s) their squared distance to the centre of a one-class
    network, `attention` (n, s, h, w) an input-attention mask, `prediction` what a two-headed network says of further
    frames. None where the network has no such thing.
    """

    x_hat: Float[Tensor, "n c s h w"]
    code: Float[Tensor, "n s d"] | None = None
    first_frame: int = 0
    distance: Float[Tensor, "n s"] | None = None
    attention: Float[Tensor, "n s h w"] | None = None
    prediction: Reconstruction | None = None


class ReconstructionNetwork(nn.Module, ABC):
    """A network whose output is a `Reconstruction`. `first_frame` of a window is the first that gets one.

    From the frame `predicts_from` on, each is predicted one step further ahead of the last frame that was seen; None
    where it looks no further ahead than one step, or does not say. Where `reconstructs` is False, training minimises
    the penalty alone.
    """

    first_frame: int = 0
    predicts_from: int | None = None
    reconstructs: bool = True

    @abstractmethod
    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct or predict. x is RGB in [0, 1]."""

    def origin(self) -> dict[str, Any]:
        """What has to be known beside the settings to make this network again: plain values; mostly nothing."""
        return {}

    def penalty(self, output: Reconstruction, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, ""]:
        """What training adds to the reconstruction loss; nothing by default. x is without noise."""
        return output.x_hat.new_zeros(())


@runtime_checkable
class Embedding(Protocol):
    """A network with an encoder: `encoder` holds its parameters, its last child the last layer."""

    encoder: nn.Module

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The frames' codes, without decoding them."""
        ...


@runtime_checkable
class Learning(Protocol):
    """A network that is not trained by gradients: it learns from one pass over the normal clips."""

    def learn(self, clips: Iterable[Float[Tensor, "1 c t h w"]]) -> None:
        """Take in every clip once. Raises `DataError` where there are too few."""
        ...


def coloured(x: Float[Tensor, "n c t h w"], channels: int) -> Float[Tensor, "n k t h w"]:
    """RGB as a network of `channels` takes it: gray by luma for 1, as it is for 3."""
    if channels == x.shape[1]:
        return x
    if channels != 1 or x.shape[1] != 3:
        raise ShapeError(f"a network takes 1 (gray) or 3 (RGB) channels of x; got {channels} of {x.shape[1]}.")
    return (x * x.new_tensor(LUMA)[:, None, None, None]).sum(dim=1, keepdim=True)


def shown(output: Reconstruction, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k s h w"]:
    """What `output.x_hat` should equal: its frames of x, in its channels."""
    frames = output.x_hat.shape[2]
    return coloured(x, output.x_hat.shape[1])[:, :, output.first_frame : output.first_frame + frames]


def density(output: Any, x: Float[Tensor, "n c t h w"], error: str) -> Float[Tensor, "n t h w"]:
    """The error per pixel of every frame of x, 0 where a frame has no reconstruction; a two-headed network's two
    errors are averaged where both speak.

    Over the pixels it sums to the frame's error: `squared-error` and `absolute-error` sum over channels, `ssim` is
    (1 - SSIM) / (h w), mean of the channels. `psnr` has the density of the squared error, and `centre-distance` has
    none (`SpecError`).
    """
    total, count = x.new_zeros(len(x), *x.shape[2:]), x.new_zeros(x.shape[2])
    for part in parts(output):
        s = slice(part.first_frame, part.first_frame + part.x_hat.shape[2])
        padding = (0, 0, 0, 0, s.start, x.shape[2] - s.stop)
        total = total + F.pad(_density(part, x, error), padding)
        count[s] += 1
    return total / count.clamp(min=1)[:, None, None]


def parts(output: Any) -> tuple[Reconstruction, ...]:
    """The reconstruction, and the prediction of a two-headed network. Raises `ShapeError` for another output."""
    if not isinstance(output, Reconstruction):
        raise ShapeError(
            f"this score needs a network that returns a Reconstruction; got {type(output).__name__}. "
            "Wrap the model in Reconstructs(model), or choose another score."
        )
    return (output,) if output.prediction is None else (output, output.prediction)


def scored_frames(output: Reconstruction) -> tuple[int, int]:
    """The first frame with a reconstruction, and the one after the last."""
    held = parts(output)
    first = min(part.first_frame for part in held)
    return first, max(part.first_frame + part.x_hat.shape[2] for part in held)


def frame_errors(output: Any, x: Float[Tensor, "n c t h w"], error: str) -> Float[Tensor, "n s"]:
    """One error per scored frame (see `scored_frames`), higher = worse.

    Sums over pixels of squared and absolute errors (Ravi's thesis), mean of 1 - SSIM, -PSNR in dB.
    """
    if error == PLACELESS:
        return _distance(output)
    summed = density(output, x, error)[:, slice(*scored_frames(output))].sum(dim=(2, 3))
    if error == "psnr":
        values = output.x_hat.shape[1] * x.shape[3] * x.shape[4]
        return 10 * torch.log10(summed / values + 1e-10)
    return summed


def added(score: str) -> tuple[str, ...]:
    """The errors that a line such as 'squared-error+centre-distance' adds. Raises `SpecError` for an unknown one."""
    names = tuple(score.split("+"))
    if not set(names) <= set(ERRORS) or len(set(names)) < len(names):
        raise SpecError(
            f"a score must be one of {', '.join(ERRORS)}, or several of them joined by '+', none twice; got {score!r}."
        )
    return names


def ssim_map(a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """SSIM at every pixel (Wang et al. 2004): Gaussian 11 x 11, sigma 1.5, range 1; edges are reflected.

    Computed in float32 also under autocast: variances as differences of large numbers would be lost in bfloat16.
    """
    c1, c2 = (k**2 for k in SSIM_K)
    stacked = torch.stack([a, b, a * a, b * b, a * b])  # (5, n, c, h, w)
    with torch.autocast(a.device.type, enabled=False):
        blurred = _blurred(stacked.flatten(0, 2)[:, None])
    mean_a, mean_b, aa, bb, ab = blurred.reshape(stacked.shape).unbind(0)
    covariance = ab - mean_a * mean_b
    variances = (aa - mean_a**2) + (bb - mean_b**2)
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return top / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))


def _density(output: Reconstruction, x: Tensor, error: str) -> Float[Tensor, "n s h w"]:
    truth = shown(output, x)
    found = output.x_hat.to(truth.dtype)  # a network under autocast answers in bfloat16
    if error in ("squared-error", "psnr"):
        return (truth - found).square().sum(dim=1)
    if error == "absolute-error":
        return (truth - found).abs().sum(dim=1)
    if error == PLACELESS:
        raise SpecError(f"{error!r} is a distance between embeddings; it has no density over pixels.")
    if error != "ssim":
        raise SpecError(f"an error must be one of {', '.join(ERRORS)}; got {error!r}.")
    frames = (rearrange(each, "n c t h w -> (n t) c h w") for each in (truth, found))
    unlike = (1 - ssim_map(*frames).mean(dim=1)) / (x.shape[3] * x.shape[4])
    return rearrange(unlike, "(n t) h w -> n t h w", n=len(x))


def _distance(output: Any) -> Float[Tensor, "n s"]:
    if not isinstance(output, Reconstruction) or output.distance is None:
        raise SpecError(
            "the score 'centre-distance' needs a one-class network, whose training set a centre; this one has none. "
            "Train with svdd=..., or choose another score."
        )
    first, last = scored_frames(output)
    if output.distance.shape[1] != last - first:
        raise ShapeError(
            f"a network must give as many distances as frames it scores, {last - first}; got "
            f"{tuple(output.distance.shape)}. Leave out the codes of other frames."
        )
    return output.distance


def _blurred(x: Float[Tensor, "m 1 h w"]) -> Float[Tensor, "m 1 h w"]:
    place = torch.arange(SSIM_SIDE, device=x.device, dtype=x.dtype) - SSIM_SIDE // 2
    weights = torch.exp(-(place**2) / (2 * SSIM_SIGMA**2))
    weights = (weights / weights.sum()).to(x.dtype)
    half = SSIM_SIDE // 2
    wide = F.pad(x, (half, half, half, half), mode="reflect")
    return F.conv2d(F.conv2d(wide, weights[None, None, None]), weights[None, None, :, None])
