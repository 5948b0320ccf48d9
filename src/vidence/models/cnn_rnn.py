"""CNN+RNN classifier: a convolutional backbone looks at each frame, a recurrent head at the sequence.

After Poirier's VGG19 -> GRU -> dense network; `recipe='paper'` is that one, with the values the paper leaves open
filled in as methods.md C.1 proposes. The bare line is the best measured settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec as spec_line
from vidence.errors import ShapeError, SpecError, WeightsError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.backbones import BACKBONES, map_shape, shortened, variant
from vidence.models.detector import FrameScores, Session
from vidence.models.detector_folder import fill_from_folder, read_facts, state_digest, write_detector
from vidence.models.evaluating import evaluating
from vidence.models.head import DifferenceKind, Head, Norm, Pool, Projector, ReadOutKind, Recurrence
from vidence.models.recipes import check, recipe
from vidence.models.weights import pretrained

KEY = "cnn-rnn"
FRAMES_AT_ONCE = 16  # frames in one pass of the backbone where no gradient is kept: bounds memory, costs no time


@dataclass(frozen=True)
class CnnRnn:
    """Settings of the detector, and its spec line. None means the recipe's value; `resolved` fills it in.

    `features`: 'gap' averages a frame's maps over space, 'spatial' pools them to `grid` x `grid` cells, 'flatten' keeps
    every cell. `units` and `bidirectional` are the recurrent layer's, `rnn='none'` reads the frames out without one.
    `dropout`, `blocks`, `width`, `differences`, `pool`, `norm`, `projection` (0: none), `readout`: see `Head`.
    `length` and `stride` in frames, `rate` in sampled frames per second (0: every frame) cut the windows; `size` is the
    side of the input in pixels, `fit` how a frame gets there. `frozen`: the backbone keeps its weights in training.
    """

    backbone: str | None = None
    rnn: Recurrence | None = None
    units: int | None = None
    dropout: float | None = None
    blocks: int | None = None
    features: Literal["gap", "flatten", "spatial"] | None = None
    bidirectional: bool | None = None
    differences: DifferenceKind | None = None
    length: int | None = None
    stride: int | None = None
    rate: float | None = None
    size: int | None = None
    recipe: Literal["best", "paper"] = "best"
    grid: int | None = None
    pool: Pool | None = None
    norm: Norm | None = None
    projection: int | None = None
    projector: Projector | None = None
    stages: int | None = None
    readout: ReadOutKind | None = None
    width: int | None = None
    fit: Literal["stretch", "letterbox"] | None = None
    frozen: bool | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name == "recipe":
                check(field.name, value)

    def resolved(self, weights: bool) -> CnnRnn:
        """Every None replaced; `weights`: whether the caller has weights for a backbone (without them, and without a
        backbone named, the `best` recipe takes `small`). A resolved line means the same in later versions.
        """
        known = recipe(self.recipe, backbone=self.backbone, weights=weights)
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: known[name] for name, value in given.items() if value is None})

    def build(
        self, classes: Sequence[str], *, normal: Sequence[str], weights: str | Path | None = None
    ) -> CnnRnnDetector:
        """An untrained detector. `weights` are the backbone's (see `load_weights`); without them published ones are
        fetched, and `small` starts at random. Random parts follow torch's global seed.
        """
        settings = self.resolved(weights is not None)
        network = CnnRnnNetwork(settings, len(classes), backbone=pretrained(str(settings.backbone), weights))
        return CnnRnnDetector(settings, network, classes=classes, normal=normal)

    @staticmethod
    def load(folder: str | Path) -> CnnRnnDetector:
        """Open a saved detector."""
        return CnnRnnDetector.load(folder)


class CnnRnnNetwork(nn.Module):
    """The network in two functions: `encode` sees each frame alone, `decide` mixes frames.

    `settings` must be resolved. Without `backbone` a random one is made.
    """

    def __init__(self, settings: CnnRnn, classes: int, *, backbone: nn.Module | None = None) -> None:
        super().__init__()
        resolved = settings.resolved(weights=backbone is not None)
        if resolved != settings:
            raise SpecError("a network is built from resolved settings; call settings.resolved(...) first.")
        made = BACKBONES[str(settings.backbone)]() if backbone is None else backbone
        self.backbone = shortened(made, settings.stages or 0)
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        channels, side = map_shape(self.backbone, int(settings.size or 0))
        self.grid = {"gap": 1, "spatial": settings.grid, "flatten": side}[str(settings.features)] or 1
        self.pooled = settings.features != "flatten"
        self.head = Head(
            channels * self.grid**2,
            classes,
            cells=self.grid**2,
            differences=settings.differences or "none",
            pool=settings.pool or "none",
            norm=settings.norm or "none",
            projection=settings.projection or 0,
            projector=settings.projector or "learned",
            rnn=settings.rnn or "none",
            units=settings.units or 1,
            bidirectional=bool(settings.bidirectional),
            readout=settings.readout or "last",
            dropout=settings.dropout or 0.0,
            blocks=settings.blocks or 0,
            width=settings.width or 1,
        )

    def encode(self, x: Float[Tensor, "n c t h w"], *, bf16: bool = False) -> Float[Tensor, "n t f"]:
        """Features of each frame alone, float32; `bf16` computes in bfloat16 (for training and caches, not for scores).

        Where no gradient is recorded, at most `FRAMES_AT_ONCE` frames go through the backbone at a time.
        """
        if x.ndim != 5 or x.shape[1] != 3 or 0 in x.shape or not x.is_floating_point():
            raise ShapeError(
                f"x must be float RGB (n, 3, t, h, w) in [0, 1]; got {x.dtype} {tuple(x.shape)}. "
                "Use prepare(clip), or put channels second and divide pixels by 255."
            )
        frames = rearrange(x, "n c t h w -> (n t) c h w")
        chunks = (frames,) if torch.is_grad_enabled() else torch.split(frames, FRAMES_AT_ONCE)
        precision = torch.autocast(x.device.type, dtype=torch.bfloat16) if bf16 else nullcontext()
        with precision:
            features = torch.cat([self._frame_features(chunk) for chunk in chunks])
        return rearrange(features, "(n t) f -> n t f", n=len(x))

    def decide(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n k"]:
        """Logits from the features of all frames."""
        return self.head(features)

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k"]:
        """(n, 3, t, h, w) in [0, 1] -> logits (n, k)."""
        return self.decide(self.encode(x))

    def _frame_features(self, frames: Float[Tensor, "m c h w"]) -> Float[Tensor, "m f"]:
        maps = self.backbone(frames.contiguous(memory_format=torch.channels_last)).float()
        if self.pooled:
            maps = maps.mean((2, 3), keepdim=True) if self.grid == 1 else F.adaptive_avg_pool2d(maps, self.grid)
        elif tuple(maps.shape[2:]) != (self.grid, self.grid):
            raise ShapeError(
                f"features='flatten' fixes the input's size: maps must be {self.grid} x {self.grid}; frames of "
                f"{tuple(frames.shape[2:])} pixels give {tuple(maps.shape[2:])}. Resize them, or use 'spatial'."
            )
        return rearrange(maps, "m c i j -> m (c i j)")


class CnnRnnDetector:
    """A built `CnnRnn`: the network with its classes, preprocessing and threshold.

    A window's anomaly score is 1 - P(normal), and all its frames get it. `threshold` is None or a dict with a finite
    `value` and where it came from; `facts` are plain values to keep (training-data digest, metrics, versions, seed).
    """

    def __init__(
        self,
        settings: CnnRnn,
        network: CnnRnnNetwork,
        *,
        classes: Sequence[str],
        normal: Sequence[str],
        threshold: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        unknown = [name for name in normal if name not in classes]
        if unknown or not normal or len(set(classes)) != len(classes) or len(classes) < 2:
            raise SpecError(
                f"a classifier needs two or more different classes and at least one normal one among them; "
                f"got classes {', '.join(classes)} and normal {', '.join(normal) or '(none)'}."
            )
        self.settings = settings
        self.network: CnnRnnNetwork = network.eval()
        self.classes = tuple(classes)
        self.normal = tuple(normal)
        self.threshold = threshold
        self.facts = facts or {}
        self.fit = Fit(size=int(settings.size or 0), mode=settings.fit or "stretch")
        self.windows = Windows(
            length=int(settings.length or 0),
            stride=int(settings.stride or 0),
            rate=settings.rate or None,
            partial="shift",
        )
        self._digest: str | None = None

    @property
    def spec(self) -> str:
        """The resolved settings as one line."""
        return spec_line.line(self.settings, {KEY: CnnRnn})

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights file, of the state when first asked or last saved."""
        if self._digest is None:
            self._digest = state_digest(self.network)
        return self._digest

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The network's input, float32 RGB in [0, 1], on the network's device."""
        return self.fit(clip).to(next(self.network.parameters()).device)

    def probabilities(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k"]:
        """Class probabilities (n, k), without gradients."""
        with evaluating(self.network):
            return self.network(x).softmax(dim=1)

    def anomaly(self, probabilities: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """1 - P(normal): the probability of all classes that are not normal."""
        return 1 - probabilities[:, [self.classes.index(name) for name in self.normal]].sum(dim=1)

    def start(self) -> Session:
        """A fresh session for one source."""
        return _CnnRnnSession(self)

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `detector.json`, each whole or not at all."""
        described = {
            "detector": self.spec,
            "backbone": variant(self.network.backbone),
            "classes": list(self.classes),
            "normal": list(self.normal),
            "preprocessing": self._preprocessing(),
            "threshold": self.threshold,
            "facts": self.facts,
        }
        self._digest = write_detector(folder, self.network, described)

    def _preprocessing(self) -> dict[str, Any]:
        """What the spec line says about the input, spelt out for readers of the JSON."""
        cut = self.windows
        windows = {"length": cut.length, "stride": cut.stride, "rate": cut.rate, "partial": cut.partial}
        return {"size": self.fit.size, "fit": self.fit.mode, "range": [0.0, 1.0], "colour": "RGB", **windows}

    @classmethod
    def load(cls, folder: str | Path) -> CnnRnnDetector:
        """Open what `save` wrote. Raises `WeightsError` for anything else."""
        saved = read_facts(folder, known={KEY})
        try:
            settings: CnnRnn = spec_line.build(saved["detector"], {KEY: CnnRnn})
            if settings != settings.resolved(weights=True):
                raise SpecError("its line must be of resolved settings, every value spelt out.")
            backbone = BACKBONES[str(settings.backbone)](**saved["backbone"])
            network = CnnRnnNetwork(settings, len(saved["classes"]), backbone=backbone)
            detector = cls(
                settings,
                network,
                classes=saved["classes"],
                normal=saved["normal"],
                threshold=saved["threshold"],
                facts=saved["facts"],
            )
        except (SpecError, TypeError, KeyError, RuntimeError) as error:
            raise WeightsError(
                f"detector.json in {folder} must describe a {KEY} detector; {error} Copy the folder again."
            ) from error
        if saved["preprocessing"] != detector._preprocessing():
            raise WeightsError(
                f"'preprocessing' in {folder}/detector.json must say what its spec line says, "
                f"{detector._preprocessing()}; got {saved['preprocessing']}. "
                "Undo that change: the network was trained so."
            )
        fill_from_folder(network, folder, saved)
        detector._digest = saved["weights"]
        return detector


class _CnnRnnSession:
    """Scores the windows of one source. Frames that the window before held keep their features, so that an
    overlap costs the head only; nothing older is kept.
    """

    def __init__(self, detector: CnnRnnDetector) -> None:
        self._detector = detector
        self._seen: dict[tuple[str, int, float], Tensor] = {}

    def push(self, clip: Clip) -> FrameScores:
        """Score a window. The frames' places and times in their source tell which are new."""
        ref, detector = clip.ref, self._detector
        keys = [(ref.digest, ref.first + place, time) for place, time in enumerate(ref.times)]
        new = [place for place, key in enumerate(keys) if key not in self._seen]
        with evaluating(detector.network):
            if new:
                times = tuple(ref.times[place] for place in new)
                part = Clip(replace(ref, times=times), clip.pixels[new])
                features = detector.network.encode(detector.prepare(part))[0]  # (t, f)
                self._seen |= {keys[place]: row for place, row in zip(new, features, strict=True)}
            self._seen = {key: self._seen[key] for key in keys}
            held = torch.stack([self._seen[key] for key in keys])[None]  # (1, t, f)
            probabilities = detector.network.decide(held).softmax(dim=1)
        score = float(detector.anomaly(probabilities)[0])
        return FrameScores(
            times=np.asarray(ref.times, dtype=np.float64),
            values=np.full(len(ref.times), score, dtype=np.float32),
            probabilities=probabilities[0].cpu().numpy(),
        )
