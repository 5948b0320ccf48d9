"""Classical baselines: how likely a frame's embedding is among those of normal frames. `embedding`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec
from vidence.errors import DataError, SpecError
from vidence.models.backbones import BACKBONES, variant
from vidence.models.densities import DENSITIES, Density
from vidence.models.detector import Detector, load_detector
from vidence.models.evaluating import evaluating
from vidence.models.one_class import embedding
from vidence.models.reconstruction import PLACELESS, Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionSettings
from vidence.models.weights import pretrained


@dataclass(frozen=True, kw_only=True)
class EmbeddingDensity(ReconstructionSettings):
    """A classical density on frames' embeddings: PCA, one-class SVM, isolation forest, kNN, Mahalanobis or KDE.

    `density`: see `densities`. Embeddings are the averaged maps of a `backbone` with the `weights` at a path (without:
    the published ones; `small` has random filters), or the codes of the trained autoencoder in the folder `of`, whose
    `size`, `crop` and `rate` these settings must have. At most `coreset` training embeddings, evenly spread over the
    frames, are kept. The score is what the density says; it has no gradient, and no pixel has a share in it.
    """

    score: str = PLACELESS
    density: str = "knn"
    backbone: str = "small"
    weights: str | None = None
    of: str | None = None
    coreset: int = 2000

    def __post_init__(self) -> None:
        """Refuse what there is no density, backbone or reconstruction for."""
        super().__post_init__()
        for name, value, known in (("density", self.density, DENSITIES), ("backbone", self.backbone, BACKBONES)):
            if value not in known:
                raise SpecError(f"embedding: {name} must be one of {', '.join(known)}; got {value!r}.")
        if self.score != PLACELESS or self.svdd != "none":
            raise SpecError(
                f"embedding: it reconstructs nothing and trains no encoder, so score is {PLACELESS!r} and svdd 'none'; "
                f"got {self.score!r} and {self.svdd!r}."
            )
        if not 2 <= self.coreset <= 2000:
            raise SpecError(f"embedding: coreset must be 2 to 2000 embeddings; got {self.coreset}.")

    def network(self) -> EmbeddingDensityNetwork:
        """The network with its backbone's weights, or with those of the autoencoder in `of`, before it has learnt."""
        if self.of is None:
            backbone = pretrained(self.backbone, self.weights)
            return self._around(Pooled(backbone), {"variant": variant(backbone)})
        held = load_detector(self.of)
        self._check_inner(held)
        inner = cast(ReconstructionNetwork, held.network)
        origin = {"detector": held.spec, "weights": held.weights_digest, "origin": inner.origin()}
        return self._around(inner, origin)

    def restored(self, origin: Mapping[str, Any]) -> EmbeddingDensityNetwork:
        """The network without its weights, which a saved folder has; neither `weights` nor `of` are read again."""
        from vidence.models import DETECTORS  # the registry imports this module

        if "detector" not in origin:
            return self._around(Pooled(BACKBONES[self.backbone](**origin.get("variant", {}))), origin)
        inner: ReconstructionSettings = spec.build(origin["detector"], DETECTORS)
        return self._around(inner.restored(origin.get("origin", {})), origin)

    def _around(self, embedder: nn.Module, origin: Mapping[str, Any]) -> EmbeddingDensityNetwork:
        return EmbeddingDensityNetwork(embedder, self.channels or 3, settings=self, origin=origin)

    def _check_inner(self, held: Detector) -> None:
        fits = isinstance(held.settings, ReconstructionSettings) and held.windows.partial == "keep"
        if not fits or not callable(getattr(held.network, "embed", None)):
            raise SpecError(
                f"embedding: of must name the folder of an autoencoder that takes clips of any length; {self.of} holds "
                f"{held.spec}. Give the folder of a trained bcae1, say."
            )
        wanted, found = ((each.size, each.crop, each.rate) for each in (held.settings, self))
        if wanted != found:
            raise SpecError(
                f"embedding: size, crop and rate must be those of the autoencoder in {self.of}, {wanted}; got {found}. "
                "Give the same."
            )


class EmbeddingDensityNetwork(ReconstructionNetwork):
    """`embedder`, frozen, and `codes` (m, d), the training embeddings of which the first `count` are set.

    `distance` is the density's anomaly score of every frame; x_hat is x itself.
    """

    codes: Tensor
    count: Tensor
    reconstructs = False

    def __init__(
        self, embedder: nn.Module, channels: int, *, settings: EmbeddingDensity, origin: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.embedder = embedder.requires_grad_(False)
        self.channels = channels
        self._origin = dict(origin)
        blank = torch.zeros(1, 3, settings.length, settings.size, settings.size)
        with evaluating(self):
            width = self.embed(blank).shape[-1]
        self.register_buffer("codes", torch.zeros(settings.coreset, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.density = Density(settings.density)
        self.register_load_state_dict_post_hook(lambda module, keys: module.density.forget())  # type: ignore[no-untyped-call]

    def origin(self) -> dict[str, Any]:
        """The backbone's variant; or line and weights' digest of the autoencoder."""
        return self._origin

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The frames' embeddings."""
        seen = coloured(x, self.channels)
        return embedding(self.embedder).embed(seen.expand(-1, 3, -1, -1, -1)).float()

    def learn(self, clips: Iterable[Float[Tensor, "1 c t h w"]]) -> None:
        """Keep embeddings of the clips' frames. Raises `DataError` for fewer than two frames."""
        with evaluating(self):
            found = [self.embed(x.to(self.codes)).flatten(0, 1) for x in clips]
        if sum(map(len, found)) < 2:
            raise DataError("a density of embeddings is learnt from at least two normal frames; there were fewer.")
        codes = torch.cat(found)
        if len(codes) > len(self.codes):
            codes = codes[torch.linspace(0, len(codes) - 1, len(self.codes)).round().long()]
        self.codes[: len(codes)] = codes
        self.count.fill_(len(codes))
        self.density.forget()

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Score every frame. Raises `DataError` before anything was learnt."""
        if not self.count:
            raise DataError("a density of embeddings must learn from normal frames first: train this detector.")
        code = self.embed(x)
        normal, found = (
            each.detach().double().cpu().numpy() for each in (self.codes[: self.count], code.flatten(0, 1))
        )
        scores = self.density.scores(normal, found)
        distance = torch.from_numpy(scores).to(code).reshape(code.shape[:2])
        return Reconstruction(coloured(x, self.channels), code=code, distance=distance)


class Pooled(nn.Module):
    """The backbone's maps of every frame, averaged over their places."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.encoder = backbone

    def embed(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n s d"]:
        """The frames' embeddings."""
        maps = self.encoder(rearrange(x, "n c t h w -> (n t) c h w"))
        return rearrange(maps.mean(dim=(2, 3)), "(n t) d -> n t d", n=len(x))
