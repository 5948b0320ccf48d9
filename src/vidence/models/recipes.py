"""The values that a `CnnRnn` line leaves open, and the values that the settings of a classifier may have."""

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
    "projector": "learned",
    "units": 1024,
    "readout": "last",
    "blocks": 3,
    "width": 512,
}
# R50L of Li et al. (WACV 2021): ResNet-50, LSTM of 256 units, 16 frames of 112 x 112 pixels, logits averaged over time
# (here the states are, which is the same before a linear layer). Their two dense layers 2048-1024-512 before the LSTM
# are one projection to 512 here; gradients cross time, where the released code detaches the states at each step.
R50L: dict[str, Any] = {
    "backbone": "resnet50",
    "rnn": "lstm",
    "features": "gap",
    "differences": "none",
    "pool": "none",
    "norm": "none",
    "projection": 512,
    "projector": "learned",
    "units": 256,
    "dropout": 0.0,
    "readout": "mean",
    "blocks": 0,
    "width": 512,
    "size": 112,
}
# Measured on fight clips (docs/results.md): the change of the last bottleneck's maps carries the class.
BEST: dict[str, Any] = {
    "features": "flatten",
    "differences": "energy",
    "pool": "none",
    "norm": "none",
    "projection": 32,
    "projector": "principal",
    "units": 16,
    "dropout": 0.3,
    "readout": "last",
    "blocks": 0,
    "width": 64,
    "rate": 8.0,
}
RECIPES = {"best": BEST, "paper": PAPER, "r50l": R50L}
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
    "stages": 0,
}
UNTRAINED: dict[str, Any] = {"size": 80, "frozen": False}  # of `small`, which starts at random, so it must learn
# What the best recipe changes for a backbone. A head that is fitted before training cannot follow one that learns.
BEST_FOR: dict[str, dict[str, Any]] = {
    "mobilenet-v2": {"stages": 18},  # without the last 1 x 1 convolution
    "small": {
        "features": "gap",
        "differences": "absolute",
        "norm": "batch",
        "projection": 128,
        "projector": "learned",
        "units": 64,
        "readout": "mean-max",
        "blocks": 1,
    },
}

CHOICES: dict[str, tuple[str, ...]] = {
    "recipe": tuple(RECIPES),
    "backbone": tuple(BACKBONES),
    "rnn": ("gru", "lstm", "none"),
    "features": ("gap", "flatten", "spatial"),
    "differences": ("none", "signed", "absolute", "energy"),
    "projector": ("learned", "principal"),
    "pool": ("none", "mean", "max", "mean-max"),
    "norm": ("none", "batch", "layer"),
    "readout": ("last", "mean", "max", "mean-max"),
    "fit": ("stretch", "letterbox"),
}
BOUNDS: dict[str, tuple[float, float]] = {
    "units": (1, 8192),
    "blocks": (0, 6),
    "width": (1, 8192),
    "grid": (1, 64),
    "projection": (0, 8192),
    "stages": (0, 64),
    "length": (1, 4096),
    "stride": (1, 4096),
    "size": (32, 4096),
    "dropout": (0.0, 0.99),
    "rate": (0.0, 1000.0),
}


def recipe(name: str, *, backbone: str | None, weights: bool) -> dict[str, Any]:
    """A value for every setting; a backbone that nobody names follows from whether there are weights."""
    values = {**SHARED, **RECIPES[name]}
    taken = backbone or values.get("backbone") or ("mobilenet-v2" if weights else "small")
    values |= UNTRAINED if taken == "small" else {}
    values |= BEST_FOR.get(taken, {}) if name == "best" else {}
    return values | {"backbone": taken}


def check(name: str, value: Any) -> None:
    """Raise `SpecError` unless a setting, of the kind it is annotated with, has a value that it can have."""
    if name in CHOICES and value not in CHOICES[name]:
        raise SpecError(f"{name} must be one of {', '.join(CHOICES[name])}; got {value!r}.")
    if name in BOUNDS:
        low, high = BOUNDS[name]
        if not low <= value <= high:
            raise SpecError(f"{name} must lie between {low:g} and {high:g}; got {value!r}.")
