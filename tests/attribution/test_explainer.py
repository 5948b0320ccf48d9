"""What every map says of itself: nothing found, nothing finite, the gap in its sum."""

import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from linear_clip import Linear
from vidence.attribution import EXPLAINERS, ON_ANY_SCORE, activation_maps
from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import ExplainError, SpecError
from vidence.pipeline import explainer_of
from vidence.record.facts import Certificate
from vidence.scoring.scores import Logit
from zoo import Folded, made


@dataclass(frozen=True)
class Told(Explainer):
    """A map and a gap that were given."""

    values: torch.Tensor
    gap: float | None = None
    flags: tuple[str, ...] = ()

    def explain_clip(self, model, x, score):
        return Attributions(self.values, certificate=Certificate(gap=self.gap, flags=self.flags))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("grad-cam(layer=4)", "layer must be text or None; got 4"),
        ("rise(n=2.5)", "n must be a whole number; got 2.5"),
        ("rise(centred='zzz')", "centred must be True or False; got 'zzz'"),
        ("occlusion(box=[1, 2])", "box must be a sequence"),
        ("smooth(explainer=3)", "must be Explainer; got 3"),
        ("occlusion(chunk=-1)", "chunk must be at least 1"),
        ("occlusion(chunk=0)", "chunk must be at least 1"),
    ],
)
def test_a_setting_of_a_wrong_kind_is_refused_in_words(line, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        explainer_of(line)


def test_a_layer_is_named_and_not_handed_over():
    model = made(Folded)
    for asked in (
        lambda layer: EXPLAINERS["grad-cam"](layer=layer),
        lambda layer: activation_maps(model, torch.rand(1, 3, 2, 8, 8), layer=layer),
    ):
        with pytest.raises(ExplainError, match=r"by its path.*itself, Conv2d.*named_modules"):
            asked(model.cnn.one)


def told(values, **found):
    x = torch.rand(1, 3, 2, 4, 4)
    return Told(values, **found).attribute(Linear(torch.rand(2, 4, 4)), x, Logit(0)).certificate


class Constant(nn.Module):
    """Looks at the clip and answers the same."""

    def __init__(self):
        super().__init__()
        self.inner = made(Folded)

    def forward(self, x):
        return self.inner(x) * 0 + torch.tensor([[3.0, 1.0, 2.0]])


def test_a_map_of_zeros_says_so_once():
    assert [flag.split(":")[0] for flag in told(torch.zeros(1, 2, 4, 4)).flags] == ["the map is zero"]
    assert told(torch.zeros(1, 2, 4, 4), flags=("no way: the map is zero",)).flags == ("no way: the map is zero",)
    assert told(torch.eye(4).expand(1, 2, 4, 4)).flags == ()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_map_that_is_not_finite_is_refused_by_name(value):
    values = torch.rand(1, 2, 4, 4)
    values[0, 1, 2, 3] = value
    with pytest.raises(ExplainError, match=r"Told found 1 of 32 values.*baseline"):
        told(values)


def test_a_gap_that_is_not_finite_is_no_gap():
    found = told(torch.rand(1, 2, 4, 4), gap=torch.nan)
    assert found.gap is None
    assert "not finite" in found.flags[0]


MODEL, X = Constant(), torch.rand(1, 3, 5, 14, 12)


@pytest.mark.parametrize(
    "key",
    [key for key in ON_ANY_SCORE if key != "masking-model" and not EXPLAINERS[key].quick().refusal(MODEL, X, Logit(0))],
)
def test_a_score_that_ignores_the_clip_is_flagged(key):
    found = EXPLAINERS[key].quick().attribute(MODEL, X, Logit(0))
    assert found.certificate.flags
    assert found.certificate.same_top_frame is None


class Dark(Explainer):
    """Says of dark clips that they are, and of all that they are clips."""

    def explain_clip(self, model, x, score):
        flags = ("a clip", "dark") if float(x.max()) < 0.5 else ("a clip",)
        return Attributions(torch.ones(1, 2, 4, 4), certificate=Certificate(gap=float(x.max()), flags=flags))


def test_a_batch_says_which_clips_a_flag_is_of_and_keeps_every_certificate():
    x = torch.tensor([0.2, 0.9, 0.4]).view(3, 1, 1, 1, 1).expand(-1, 3, 2, 4, 4)
    found = Dark().attribute(made(Folded), x, Logit(0), certify=False)
    assert found.certificate.flags == ("a clip", "clips 1, 3 of 3: dark")
    assert Dark().attribute(made(Folded), x[1:], Logit(0), certify=False).certificate.flags[1] == "clip 2 of 2: dark"
    assert [each.gap for each in found.extra["certificates"]] == pytest.approx([0.2, 0.9, 0.4])
    assert found.extra["certificates"][1].flags == ("a clip",)
