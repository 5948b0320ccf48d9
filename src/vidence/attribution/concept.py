"""A concept: the mean of what a model makes of example clips, and how much of it a clip has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.attention_calls import LatentCalls
from vidence.attribution.hooks import frozen, on_device
from vidence.errors import ExplainError, SpecError


class Latent(nn.Module):
    """`model` without its read-out: x -> (n, d), the input of its last linear layer with one row a clip."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n d"]:
        """What the model decides from."""
        calls = LatentCalls(len(x))
        with calls:
            self.model(x)
        if calls.latent is None:
            raise ExplainError(
                "a concept needs a model that ends in a linear layer with one row a clip; this one has none."
            )
        return calls.latent


@dataclass(frozen=True, eq=False)
class ConceptScore:
    """The product of each clip's latent with the concept's, not normalised."""

    concept: Float[Tensor, " d"]

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        """Score each clip, (n,)."""
        if output.shape[1:] != self.concept.shape:
            raise ExplainError(
                f"the concept must have as many values as the model's latent, {output.shape[1]}; got "
                f"{len(self.concept)}. Make it with `concept_of` and this model."
            )
        return output @ self.concept.to(output)


def concept_of(model: nn.Module, clips: Float[Tensor, "n c t h w"]) -> Float[Tensor, " d"]:
    """The mean latent of example clips; `numpy.save` keeps it for `cdam(concept='FILE.npy')`."""
    latent = Latent(model)
    with frozen(latent), torch.no_grad():
        return torch.cat([latent(on_device(model, clips[i : i + 1])) for i in range(len(clips))]).mean(dim=0)


def read_concept(file: str) -> Float[Tensor, " d"]:
    """The one vector of a .npy, .npz or .safetensors file. Raises `SpecError` for anything else."""
    path = Path(file)
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            arrays = list(load_file(path).values())
        else:
            loaded = np.load(path, allow_pickle=False)
            arrays = [loaded] if isinstance(loaded, np.ndarray) else [loaded[name] for name in loaded.files]
    except (OSError, ValueError) as error:
        raise SpecError(f"concept must be a readable .npy, .npz or .safetensors file; {file}: {error}.") from error
    if len(arrays) != 1 or arrays[0].ndim != 1 or not np.isfinite(arrays[0]).all():
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise SpecError(f"concept must hold one finite vector (d,); {file} holds {shapes}. Make it with `concept_of`.")
    return torch.from_numpy(arrays[0].astype(np.float32))
