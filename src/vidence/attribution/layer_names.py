"""How a layer is named: `encoder.2`, `encoder.2+` with what follows it at once, `relu#2` the second call a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from vidence.errors import ExplainError

CONVOLUTIONAL = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FUNCTIONAL = "functional convolution"  # how the name of one begins whose weight is no parameter of the model


@dataclass(frozen=True, slots=True)
class LayerName:
    """The parts of a layer's name: the path of a module or convolution, and which of its outputs is meant."""

    path: str
    followed: bool = False
    occurrence: int | None = None

    @classmethod
    def parsed(cls, name: str) -> LayerName:
        """The parts. Raises `ExplainError` for an occurrence that is no number from 1, and for the module itself."""
        check_name(name)
        rest, mark, count = name.partition("#")
        if mark and not (count.isdecimal() and int(count)):
            raise ExplainError(f"after # comes which of a layer's calls is meant, from 1; got {name!r}.")
        return cls(rest.removesuffix("+"), rest.endswith("+"), int(count) if mark else None)


def check_name(name: Any) -> None:
    """Raise `ExplainError` for a module where its path is asked for: settings hold no part of a model."""
    if isinstance(name, nn.Module):
        raise ExplainError(
            f"a layer must be named by its path in the model; got the module itself, {type(name).__name__}. Its path: "
            "next(path for path, module in model.named_modules() if module is layer), such as 'backbone.4'."
        )


def module_of(parameter: str) -> str:
    """The path of the module that owns a parameter, or of the Keras layer; of the model's own parameter, its name."""
    if parameter.startswith(FUNCTIONAL):
        return parameter
    keras = parameter.rpartition(".")[2].rpartition("/")[0]
    return keras or parameter.rpartition(".")[0] or parameter


def convolution_named(model: nn.Module, layer: str) -> str | None:
    """The weight of the convolution that a name means where no module does: one with what follows it, of a Keras layer,
    a model's own parameter, or a functional one. An ending will do if only one ends so.
    """
    name, modules = LayerName.parsed(layer), dict(model.named_modules())
    if name.path in modules and not name.followed:
        return None
    if name.path.startswith(FUNCTIONAL):
        return name.path
    kernels = {module_of(full): full for full, tensor in model.named_parameters() if tensor.ndim in (4, 5)}
    if not name.followed:
        kernels = {label: full for label, full in kernels.items() if label not in modules}
    ending = [label for label in kernels if label.endswith((f".{name.path}", f"/{name.path}"))]
    if name.path in kernels:
        return kernels[name.path]
    return kernels[ending[0]] if len(ending) == 1 else None
