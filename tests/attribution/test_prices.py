"""What every map costs is what it says it costs, for a standard small model of each family."""

import pytest
import torch

from vidence.attribution import COMBINE, EXPLAINERS
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes
from zoo import CHANNELS, OF_FAMILY, made

TABLE = {**EXPLAINERS, **COMBINE}
FAMILIES = ("recurrent", "volume", "reconstruction", "transformer")
T, H, W = 5, 14, 12
# An autoencoder's layer is found by one more pass; `smooth` pays it at every draw, `when-where` where it looks as well.
FINDS_LAYER = dict.fromkeys(
    ("eigen-cam", "eigen-grad-cam", "grad-cam", "grad-cam++", "hires-cam", "layer-cam", "score-cam", "when-where"), 1
) | {"consensus": 1, "fast-cam": 1, "mean": 1, "product": 1, "smooth": 3}
WITHOUT_RELU = {("deconvnet", "transformer"), ("fgvis", "transformer"), ("guided-backprop", "transformer")}
NOT_YET = {"input-attention", "masking-model"}  # need a network, a masker of their own: counted in their own tests
CHANGED = {
    "adaptive-occlusion": ({"mode": "full", "starts": "first", "side": 6},),
    "blur-ig": ({"steps": 3, "limit": 3},),
    "counterfactual-box": ({"cells": 2, "verify": 8, "shrink": 9, "mode": "sensitise"},),
    "deep-lift": ({"baseline": "mean"},),
    "extremal-perturbation": ({"areas": (0.2,), "iterations": 2, "mode": "dual"},),
    "fast-cam": ({"layers": 1, "weighted_by": "grad-cam"},),
    "fgvis": ({"iterations": 2},),
    "gradient-shap": ({"n": 4, "spread": 0.1}, {"n": 2, "baselines": ("median",)}),
    "igos": ({"iterations": 1, "points": 2},),
    "igos++": ({"iterations": 1, "points": 2},),
    "integrated-cdam": ({"steps": 2},),
    "integrated-gradients": ({"steps": 4, "limit": 4}, {"steps": 2, "limit": 32}),
    "kernel-shap": ({"count": 4, "n": 12}, {"segments": "frames"}),
    "lime": ({"count": 4, "n": 9, "chunk": 2},),
    "meaningful-perturbation": ({"iterations": 2},),
    "occlusion": ({"box": (2, 7, 6)}, {"box": ("all", None, None)}),
    "poly-cam": ({"mode": "+-", "channels": 2},),
    "rise": ({"n": 10, "chunk": 3},),
    "score-cam": ({"channels": None, "weighting": "softmax"}, {"channels": 2}),
    "smooth-cdam": ({"n": 2},),
    "smooth-grad": ({"n": 2},),
    "temporal-influence": ({"how": "gradient"},),
    "temporal-mask": ({"iterations": 2, "perturb": "reverse"},),
}


def priced():
    """Every key on its small budget and on changed settings."""
    return [
        pytest.param(key, explainer, id=f"{key}-{place}")
        for key, kind in TABLE.items()
        for place, explainer in enumerate([kind.quick(), *(kind(**changed) for changed in CHANGED.get(key, ()))])
    ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("key", "explainer"), priced())
def test_price_is_what_is_counted(key, explainer, family):
    model = made(OF_FAMILY[family])
    score = SquaredError() if family == "reconstruction" else Logit(0)
    x = torch.rand(1, 3, T, H, W)
    if key in NOT_YET or (key, family) in WITHOUT_RELU or explainer.refusal(model, x, score):
        return
    with counted_passes(model) as passes:
        explainer.attribute(model, x, score, certify=False)
    price = explainer.price(T, H, W, CHANNELS[family])
    more = FINDS_LAYER.get(key, 0) if family == "reconstruction" else 0
    if price.at_most:
        assert passes.forwards <= price.forwards + more
        assert passes.gradients <= price.gradients
    else:
        assert price.forwards <= passes.forwards <= price.forwards + more
        assert passes.gradients == price.gradients
