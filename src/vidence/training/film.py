"""Films a network while it learns: the filters of its first convolution and its maps of fixed clips, epoch by epoch.

Pictures are kept as arrays, one file an epoch, so that a resumed fit films on; `Film.written` hands them to a
writer of movies. Importing this imports Lightning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vidence.aside import written_aside
from vidence.errors import ExplainError
from vidence.models.device import place_of
from vidence.models.evaluating import evaluating

MovieWriter = Callable[[Path, Iterable[np.ndarray], Sequence[float]], Any]
EPOCH_S = 0.25  # how long an epoch is shown
MOVIES = ("filters", "activations")
_CELL = 24  # pixels: a filter of 3 x 3 is enlarged to about this side


class Film(pl.Callback):  # type: ignore[misc]
    """Each epoch writes `filters-EPOCH.npy` and `activations-EPOCH.npy`, uint8 RGB (h, w, 3), into `folder`.

    `x` float32 (n, c, t, h, w) are the fixed clips: one row of the picture is a frame (the middle one of each clip),
    its columns are the `channels` channels of the backbone's last convolution that vary most on the first epoch filmed.
    """

    def __init__(self, folder: Path, x: Float[Tensor, "n c t h w"], *, channels: int = 8):
        self.folder, self.channels = folder, channels
        self.frames = x[:, :, x.shape[2] // 2]  # (n, c, h, w)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Take both pictures."""
        backbone: nn.Module = module.network.backbone
        epoch = module.row["epoch"]  # the module's own count has gone on by now
        pictures = (filter_picture(first_convolution(backbone).weight), self._activations(backbone))
        for name, picture in zip(MOVIES, pictures, strict=True):
            with written_aside(self.folder / f"{name}-{epoch:04d}.npy") as aside, aside.open("wb") as file:
                np.save(file, picture, allow_pickle=False)

    def written(self, write_movie: MovieWriter) -> list[Path]:
        """Make one movie of each kind; returns their paths."""
        made = []
        for name in MOVIES:
            files = sorted(self.folder.glob(f"{name}-*.npy"))
            if files:
                frames = (np.load(file, allow_pickle=False) for file in files)
                made.append(self.folder / f"{name}.mp4")
                write_movie(made[-1], frames, [place * EPOCH_S for place in range(len(files))])
        return made

    def _activations(self, backbone: nn.Module) -> UInt8[np.ndarray, "h w 3"]:
        maps = activations(backbone, self.frames)
        kept = self.folder / "channels.npy"
        if not kept.exists():
            varied = maps.flatten(2).std(dim=(0, 2)).topk(min(self.channels, maps.shape[1])).indices
            with written_aside(kept) as aside, aside.open("wb") as file:
                np.save(file, varied.sort().values.numpy(), allow_pickle=False)
        chosen = torch.from_numpy(np.load(kept, allow_pickle=False))
        return activation_picture(maps[:, chosen])


def first_convolution(backbone: nn.Module) -> nn.Conv2d:
    """The convolution that sees pixels."""
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            return layer
    raise ExplainError(f"filters can be filmed of a backbone with a convolution; {type(backbone).__name__} has none.")


def activations(backbone: nn.Module, frames: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k i j"]:
    """The output of the backbone's last convolution, in eval mode without gradients; the modes are restored."""
    last = [each for each in backbone.modules() if isinstance(each, nn.Conv2d)][-1]
    seen: list[Tensor] = []
    handle = last.register_forward_hook(lambda module, given, output: seen.append(output))
    try:
        with evaluating(backbone):
            backbone(frames.to(place_of(backbone)))
    finally:
        handle.remove()
    return seen[-1].float().cpu()


def filter_picture(weight: Float[Tensor, "k c h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """All filters as tiles, grey at zero; one scale for all, so that filters that grow are seen to grow less noisy."""
    values = weight.detach().float().cpu()
    values = values if values.shape[1] == 3 else values.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    scaled = 0.5 + 0.5 * values / values.abs().amax().clamp_min(1e-12)
    return tiles(scaled.permute(0, 2, 3, 1).numpy(), columns=math.ceil(math.sqrt(len(values))))


def activation_picture(maps: Float[Tensor, "n k i j"]) -> UInt8[np.ndarray, "h w 3"]:
    """Rows are frames, columns channels; each map is scaled to its own range (a constant one is black)."""
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    scaled = (maps - low) / (high - low).clamp_min(1e-12)
    grey = scaled.flatten(0, 1)[..., None].expand(-1, -1, -1, 3).numpy()
    return tiles(grey, columns=maps.shape[1])


def tiles(pictures: Float[np.ndarray, "n h w 3"], *, columns: int) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures in [0, 1], enlarged by whole pixels, in rows, a white pixel between; even sides, for H.264."""
    n, h, w, _ = pictures.shape
    scale = max(1, round(_CELL / max(h, w)))
    rows, cell_h, cell_w = math.ceil(n / columns), h * scale + 1, w * scale + 1
    height, width = rows * cell_h + 1, columns * cell_w + 1
    canvas = np.full((height + height % 2, width + width % 2, 3), 255, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * cell_h + 1, place % columns * cell_w + 1
        big = np.repeat(np.repeat(picture, scale, axis=0), scale, axis=1)
        canvas[top : top + h * scale, left : left + w * scale] = np.round(np.clip(big, 0, 1) * 255).astype(np.uint8)
    return canvas
