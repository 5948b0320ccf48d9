"""The values that a `CnnRnn` line leaves open, and the values that it may give."""

from __future__ import annotations

from typing import Any

from vidence.errors import SpecError
from vidence.models.backbones import BACKBONES

# Poirier's network as far as the paper states it (GRU 1024, dropout .5, three dense blocks); pooling, widths and
# window length are the proposals of methods.md C.1.
PAPER: dict[str, Any] = {
    "backbone": "vgg19",
    "features": "gap",
    "differences": "none",
    "pool": "none",
    "norm": "none",
    "projection": 0,
    "units": 1024,
    "readout": "last",
    "blocks": 3,
    "width": 512,
}
BEST: dict[str, Any] = {
    "features": "spatial",
    "differences": "absolute",
    "pool": "none",
    "norm": "batch",
    "projection": 128,
    "units": 64,
    "readout": "mean-max",
    "blocks": 1,
    "width": 64,
}
RECIPES = {"best": BEST, "paper": PAPER}
SHARED: dict[str, Any] = {
    "rnn": "gru",
    "bidirectional": False,
    "dropout": 0.5,
    "grid": 2,
    "length": 16,
    "stride": 8,
    "rate": 0.0,
    "size": 224,
    "fit": "stretch",
    "frozen": True,
}
SMALL: dict[str, Any] = {"size": 96, "frozen": False}  # this backbone starts at random, so it must learn

CHOICES: dict[str, tuple[str, ...]] = {
    "recipe": tuple(RECIPES),
    "backbone": tuple(BACKBONES),
    "rnn": ("gru", "lstm", "none"),
    "features": ("gap", "flatten", "spatial"),
    "differences": ("none", "signed", "absolute"),
    "pool": ("none", "mean", "max", "mean-max"),
    "norm": ("none", "batch", "layer"),
    "readout": ("last", "mean", "max", "mean-max"),
    "fit": ("stretch", "letterbox"),
}
WHOLE: dict[str, tuple[int, int]] = {
    "units": (1, 8192),
    "blocks": (0, 6),
    "width": (1, 8192),
    "grid": (1, 64),
    "projection": (0, 8192),
    "length": (1, 4096),
    "stride": (1, 4096),
    "size": (32, 4096),
}
FRACTIONS: dict[str, tuple[float, float]] = {"dropout": (0.0, 0.99), "rate": (0.0, 1000.0)}


def recipe(name: str, *, backbone: str | None, weights: bool) -> dict[str, Any]:
    """A value for every setting; a backbone that nobody names follows from whether there are weights."""
    values = {**SHARED, **RECIPES[name]}
    taken = backbone or values.get("backbone") or ("mobilenet-v2" if weights else "small")
    return {**values, **(SMALL if taken == "small" else {}), "backbone": taken}


def check(name: str, value: Any) -> None:
    """Raise `SpecError` unless a setting has a value that it can have."""
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise SpecError(f"{name} must be one of {', '.join(CHOICES[name])}; got {value!r}.")
    elif name in WHOLE:
        low, high = WHOLE[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise SpecError(f"{name} must be a whole number from {low} to {high}; got {value!r}.")
    elif name in FRACTIONS:
        least, most = FRACTIONS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise SpecError(f"{name} must be a number from {least:g} to {most:g}; got {value!r}.")
    elif not isinstance(value, bool):
        raise SpecError(f"{name} must be True or False; got {value!r}.")
