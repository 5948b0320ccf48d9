"""Maps of weights change with them, maps of pictures do not; what is said of which."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from vidence.attribution import Gradient, InputXGradient
from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import SpecError, WeightsError
from vidence.evaluate.controls import CentreMap, FrameDifference
from vidence.evaluate.measure import Case
from vidence.evaluate.randomised import cascaded, singled
from vidence.evaluate.sanity import (
    CascadingRandomisation,
    IndependentRandomisation,
    InputOnly,
    LabelRandomisation,
    class_agnostic,
    edges,
    insensitive,
    motion,
)
from vidence.evaluate.similarity import similarity
from vidence.scoring.scores import Logit
from vidence.testing import assert_no_residue
from zoo import Folded


@dataclass(frozen=True)
class Edges(Explainer):
    """An input-only map: what `edges` draws."""

    def explain_clip(self, model, x, score):
        return Attributions(
            torch.from_numpy(edges(case_of(self, x=x, model=model, values=np.zeros(x.shape[2:]))))[None]
        )


def case_of(explainer, *, x=None, model=None, values=None):
    torch.manual_seed(0)
    x = torch.rand(1, 3, 5, 14, 12) if x is None else x
    model = model or Folded().eval()
    if values is None:
        values = explainer(model, x, Logit(0))[0].detach().numpy()
    return Case(model, x, Logit(0), explainer, values)


@pytest.mark.parametrize("measure", [CascadingRandomisation, IndependentRandomisation])
@pytest.mark.parametrize("how", ["spearman", "ssim", "hog"])
def test_a_map_of_the_picture_stays_and_a_map_of_the_weights_does_not(measure, how):
    asked = measure(stages=2, how=how)
    assert asked(case_of(Edges())) == pytest.approx(1)
    assert asked(case_of(Gradient())) < 0.9


def test_the_mean_over_the_stages_from_its_definition():
    case = case_of(InputXGradient())
    for measure, models in ((CascadingRandomisation(3), cascaded), (IndependentRandomisation(3), singled)):
        alike = [
            similarity(case.values, InputXGradient()(model, case.x, Logit(0))[0].numpy(), signed=False)
            for model in models(case.model, case.x, stages=3, seed=0)
        ]
        assert len(alike) == 3
        assert measure(case) == pytest.approx(np.mean(alike))


def test_nothing_is_said_without_weights_or_of_a_constant_map():
    for measure in (CascadingRandomisation(), IndependentRandomisation()):
        assert measure(case_of(CentreMap(), model=nn.Flatten())) is None
        assert measure(case_of(Gradient(), values=np.zeros((5, 14, 12)))) is None
    assert insensitive(case_of(CentreMap(), model=nn.Flatten())) is None


def test_a_flag_in_plain_words():
    case = case_of(Edges())
    with assert_no_residue(case.model):
        said = insensitive(case)
    assert said is not None
    assert said.startswith("this map hardly changes when the network's weights are random (rank correlation 1.00)")
    assert insensitive(case_of(Gradient())) is None


@dataclass(frozen=True)
class UpsideDown(Explainer):
    """Large where the picture is dark, once the weights are not the ones it was made for."""

    trained: float

    def explain_clip(self, model, x, score):
        own = float(next(model.parameters()).detach().flatten()[0]) == self.trained
        grey = x.mean(dim=1)
        return Attributions(grey if own else 1 - grey)


def test_a_map_that_is_turned_upside_down_is_as_dependent():
    torch.manual_seed(0)
    model = Folded().eval()
    case = case_of(UpsideDown(float(next(model.parameters()).detach().flatten()[0])), model=model)
    assert CascadingRandomisation(stages=1)(case) == pytest.approx(-1)
    assert "turned upside down when the network's weights are random (rank correlation -1.00)" in insensitive(case)


def test_a_class_agnostic_map_is_told():
    said = class_agnostic(case_of(CentreMap()), Logit(1))
    assert said is not None
    assert "another class" in said
    assert class_agnostic(case_of(InputXGradient()), Logit(1)) is None


def test_labels_of_another_detector(classifier, tmp_path):
    classifier.save(tmp_path / "same")
    x = torch.rand(1, 3, 8, 32, 32)
    case = case_of(Gradient(), model=classifier.network, x=x)
    assert LabelRandomisation()(case) is None
    assert LabelRandomisation(str(tmp_path / "same"))(case) == pytest.approx(1)
    with pytest.raises(WeightsError):
        LabelRandomisation(str(tmp_path / "none"))(case)


def test_what_the_clip_alone_shows():
    x = torch.zeros(1, 3, 3, 6, 6)
    x[:, :, 1, 2:4, 2:4] = 0.6
    case = case_of(FrameDifference(), x=x)
    assert InputOnly("motion")(case) == pytest.approx(1)
    assert InputOnly("edges")(case) < 0.9
    assert np.allclose(motion(case), case.values)
    ramp = torch.linspace(0, 1, 6).expand(1, 3, 2, 6, 6).clone()
    assert np.allclose(edges(case_of(FrameDifference(), x=ramp)), 0.2), "a slope of .2 a column"
    assert InputOnly()(case_of(Edges())) == pytest.approx(1)
    assert edges(case_of(CentreMap(), x=torch.rand(1, 3, 2, 1, 5))).shape == (2, 1, 5)


def test_settings_that_are_none():
    for wrong in (
        lambda: CascadingRandomisation(stages=0),
        lambda: IndependentRandomisation(how="eye"),
        lambda: LabelRandomisation(how="eye"),
        lambda: InputOnly("colour"),
    ):
        with pytest.raises(SpecError):
            wrong()
