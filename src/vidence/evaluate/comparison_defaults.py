"""What is compared when nothing is asked for: explainers by the family of the network, and affordable measures."""

from __future__ import annotations

from vidence.attribution.families import Family

MEASURES_COMPARED = (
    "insertion(scale='auto')",
    "deletion(scale='auto')",
    "mass-ratio",
    "pointing",
    "strongest-frame",
    "gini",
    "flicker",
    "cascading-randomisation(stages=1)",
)

_GRADIENTS = ("gradient", "input-x-gradient", "smooth-grad(n=8)", "integrated-gradients(steps=16, limit=32)")
_ANYWHERE = ("occlusion", "frame-occlusion", "lrp", "deep-lift")
EXPLAINERS_COMPARED: dict[Family, tuple[str, ...]] = {
    "recurrent": ("when-where", "integrated-cam", "grad-cam", "layer-cam", *_GRADIENTS, *_ANYWHERE),
    "volume": ("grad-cam", "layer-cam", "cam", "excitation-backprop", *_GRADIENTS, *_ANYWHERE),
    "reconstruction": ("grad-cam", "temporal-influence", "input-attention", *_GRADIENTS, *_ANYWHERE),
    "transformer": ("attention-rollout", "transformer-relevance", "cdam", "grad-cam", *_GRADIENTS, *_ANYWHERE),
    "frames": ("grad-cam", "layer-cam", "cam", *_GRADIENTS, *_ANYWHERE),
}
