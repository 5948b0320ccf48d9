"""Embeddings and encoder activations before and after tuning, in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor

from vidence.aside import written_aside
from vidence.attribution.hooks import recorded
from vidence.datasets.dataset import Dataset, Sample
from vidence.errors import DataError
from vidence.evaluate.tracks import Timed
from vidence.frames.clip import Clip
from vidence.models.evaluating import evaluating
from vidence.models.one_class import embedding
from vidence.models.reconstruction import ReconstructionNetwork
from vidence.models.reconstruction_detector import ReconstructionDetector

Networks = Mapping[str, ReconstructionNetwork]  # by what they are called on a picture
DOTS = 1500  # of a kind, on a scatter plot
KINDS = (("normal test frames", False, "#0072b2"), ("anomalous test frames", True, "#d55e00"))


@dataclass(frozen=True, eq=False)
class Embedded:
    """Codes of the same frames from several networks, and which of the frames are anomalous."""

    codes: dict[str, Float[np.ndarray, "m d"]]
    anomalous: Bool[np.ndarray, " m"]


def embedded(
    detector: ReconstructionDetector, networks: Networks, dataset: Dataset, samples: Sequence[Sample]
) -> Embedded:
    """The codes of all frames that the detector would score. Raises `DataError` if there are none."""
    found: dict[str, list[Tensor]] = {name: [] for name in networks}
    anomalous = []
    for sample in samples:
        source = Timed(sample.open())
        times: list[float] = []
        for clip in detector.windows.cut(source):
            x = detector.prepare(clip)
            for name, network in networks.items():
                with evaluating(network):
                    found[name].append(embedding(network).embed(x)[0].float().cpu())
            first = detector.network.first_frame
            times += clip.times[first : first + len(found[name][-1])]
        truth = dataset.truth(sample, len(source.times)).anomalous
        anomalous.append(truth[np.searchsorted(source.times, times)])
    if not sum(map(len, anomalous)):
        raise DataError("a plot of embeddings needs frames; got none. Give longer videos.")
    codes = {name: torch.cat(held).numpy() for name, held in found.items()}
    return Embedded(codes, np.concatenate(anomalous))


def first_anomaly(detector: ReconstructionDetector, dataset: Dataset, samples: Sequence[Sample]) -> Clip:
    """The window with the first anomalous frame of the samples, else the first window. Raises `DataError` without."""
    for sample in samples:
        source = Timed(sample.open())
        frames = sum(1 for _ in source)
        truth = dataset.truth(sample, frames).anomalous
        if truth.any():
            start = source.times[int(truth.argmax())]
            for clip in detector.windows.cut(source):
                if clip.times[-1] >= start:
                    return clip
    for sample in samples:
        for clip in detector.windows.cut(sample.open()):
            return clip
    raise DataError("a picture of activations needs a window; got none. Give longer videos.")


def write_embeddings(
    path: Path, usual: Float[np.ndarray, "m d"], found: Embedded, *, centre: Float[np.ndarray, " d"] | None = None
) -> None:
    """A panel per network: its codes on the two principal axes of `usual`, the untuned codes of normal training frames.

    Axes and their ends are the same in all panels.
    """
    pca = PCA(n_components=2, random_state=0).fit(usual)
    places = {name: pca.transform(codes) for name, codes in found.codes.items()}
    figure = Figure(figsize=(5.5 * len(places), 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(places), sharex=True, sharey=True, squeeze=False)[0]
    shares = pca.explained_variance_ratio_
    for axes, (name, held) in zip(panels, places.items(), strict=True):
        for label, kind, colour in KINDS:
            dots = _thinned(held[found.anomalous == kind])
            axes.scatter(dots[:, 0], dots[:, 1], s=6, alpha=0.4, linewidths=0, color=colour, label=label)
        if centre is not None:
            axes.plot(*pca.transform(centre[None])[0], marker="x", color="black", ms=6, ls="", label="centre")
        axes.set(title=name, xlabel=f"axis 1 ({shares[0]:.0%} of the variance of untuned normal training frames)")
        axes.set_ylabel(f"axis 2 ({shares[1]:.0%})")
        axes.legend(frameon=False, fontsize="small", markerscale=1.5)
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")


def write_activations(path: Path, networks: Networks, x: Float[Tensor, "1 c t h w"], *, frames: Sequence[int]) -> None:
    """Per frame a row: the frame, then the mean absolute activation of each layer of the encoder, network by network.

    A layer's maps have one scale, so that they can be compared. Layers without maps are left out.
    """
    maps = {name: encoder_maps(network, x) for name, network in networks.items()}
    names = list(maps)
    layers = range(len(maps[names[0]]))
    columns = [(layer, name) for layer in layers for name in names]
    figure = Figure(figsize=(1.7 * (1 + len(columns)), 1.9 * len(frames)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(frames), 1 + len(columns), squeeze=False)
    for row, frame in zip(grid, frames, strict=True):
        row[0].imshow(rearrange(x[0, :, frame], "c h w -> h w c").cpu().clamp(0, 1).numpy())
        for axes, (layer, name) in zip(row[1:], columns, strict=True):
            top = max(float(maps[each][layer].max()) for each in names)
            axes.imshow(maps[name][layer][frame], cmap="magma", vmin=0, vmax=top)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (layer, name) in zip(grid[0][1:], columns, strict=True):
        axes.set_title(f"layer {layer + 1}, {name}", fontsize="small")
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")


def encoder_maps(network: ReconstructionNetwork, x: Float[Tensor, "1 c t h w"]) -> list[Float[np.ndarray, "t h w"]]:
    """The mean absolute activation over channels of each child of the encoder that returns maps, a map per frame."""
    encoder = embedding(network).encoder
    paths = {id(module): path for path, module in network.named_modules()}
    with ExitStack() as stack:
        calls = [stack.enter_context(recorded(network, paths[id(child)])) for child in encoder.children()]
        stack.enter_context(evaluating(network))
        network(x)
    kept = [[each.float().abs().mean(dim=1).cpu() for each in outputs if _mapped(each)] for outputs in calls]
    joined = [torch.cat(each).numpy() for each in kept if each]
    return [each for each in joined if len(each) == x.shape[2]]


def _mapped(output: object) -> bool:
    return isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1


def _thinned(dots: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "k 2"]:
    """Evenly, in the order of time."""
    return dots[:: max(1, -(-len(dots) // DOTS))]
