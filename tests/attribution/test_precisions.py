"""Models in float64, in 16 bit and under autocast: whose arithmetic is the model's, and whose the explainer's."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest
import torch
from torch import nn

from vidence import pipeline
from vidence.attribution import COMBINE, EXPLAINERS, Gradient, WhenWhere
from vidence.attribution.hooks import at_its_calls, frozen, in_16_bit
from vidence.attribution.two_stage import TwoStage
from vidence.errors import ExplainError
from vidence.models import DETECTORS
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import assert_no_residue
from zoo import OF_FAMILY, Autoencoder, Folded, TwoStages, Volume, made

TABLE = {
    key: kind for key, kind in {**EXPLAINERS, **COMBINE}.items() if key != "masking-model"
}  # which is trained first
X = torch.rand(1, 3, 5, 14, 12, generator=torch.Generator().manual_seed(0))


def score_of(family):
    return SquaredError() if family == "reconstruction" else Logit(0)


def asked(key, model, x, score):
    """The map, or None for a pair that is refused; an error of torch is none of ours."""
    try:
        return TABLE[key].quick().attribute(model, x, score, certify=False)
    except ExplainError as refusal:
        if isinstance(refusal.__cause__, RuntimeError):
            raise
        return None


def home(key):
    """The first family that a key is not refused for, and whose map of float32 others are held against."""
    explainer = TABLE[key].quick()
    return next(kind for kind in OF_FAMILY if not explainer.refusal(made(OF_FAMILY[kind]), X, score_of(kind)))


@cache
def exact(key):
    family = home(key)
    return asked(key, made(OF_FAMILY[family]), X, score_of(family))


@pytest.mark.parametrize("key", TABLE)
@pytest.mark.parametrize("family", OF_FAMILY)
def test_float64_gives_the_map_of_float32(family, key):
    found = asked(key, made(OF_FAMILY[family]).double(), X.double(), score_of(family))
    assert found is None or found.values.dtype == torch.float32
    if family == home(key) and exact(key) is not None:
        scale = float(exact(key).values.abs().max())
        assert float((found.values - exact(key).values).abs().max()) < 0.02 * scale  # rounding decides which is best


@pytest.mark.parametrize("key", TABLE)
def test_a_bfloat16_model_is_explained(key):
    family = home(key)
    found = asked(key, made(OF_FAMILY[family]).bfloat16(), X.bfloat16(), score_of(family))
    assert (found is None) == (exact(key) is None)
    assert found is None or found.values.dtype == torch.float32


@pytest.fixture(scope="module")
def detector():
    """A small autoencoder whose detector scores in bfloat16."""
    settings = replace(DETECTORS["cae"](), precision="bf16")
    return ReconstructionDetector(settings, made(Autoencoder))


@pytest.mark.parametrize("key", TABLE)
def test_a_detector_in_bf16_is_explained(detector, key):
    plain = asked(key, detector.network, X, SquaredError())
    if plain is None:
        return
    with assert_no_residue(detector.network):
        found = pipeline.explain(detector, X, explainer=TABLE[key].quick(), score=SquaredError())
    assert found.values.dtype == torch.float32
    assert not any("at random" in flag for flag in found.certificate.flags)
    cosine = torch.cosine_similarity(found.values.flatten(), plain.values.flatten(), dim=0)
    assert key in ("counterfactual-box", "class-feature-pyramids") or cosine > 0.9  # which choose one of many


@pytest.mark.parametrize("spoil", [lambda model: model.bfloat16(), lambda model: model.half()])
def test_the_explainers_own_arithmetic_is_float32(spoil):
    model = spoil(made(TwoStages))
    kind = model.out.weight.dtype
    inputs = []
    model.out.register_forward_pre_hook(lambda module, args: inputs.append(args[0].dtype))
    with frozen(model):
        assert in_16_bit(model)
        assert isinstance(model, TwoStage)
        features = model.encode(X)
        assert features.dtype == model.decide(features).dtype == model(X).dtype == torch.float32
        torch.testing.assert_close(model.decide(features), model(X))
    assert inputs == [kind] * 4
    assert not in_16_bit(model)
    assert model(X.to(kind)).dtype == kind


def test_an_autocast_is_the_models_alone():
    model, seen = made(Volume), []
    model.out.register_forward_hook(lambda module, args, output: seen.append(output.dtype))

    def score(output, x):
        seen.append((output.dtype, torch.is_autocast_enabled("cpu"), (x.flatten(1) @ x.flatten(1).T).dtype))
        return output[:, 0]

    exact = Gradient().attribute(model, X, score, certify=False).values
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        found = Gradient().attribute(model, X, score, certify=False).values
        assert torch.is_autocast_enabled("cpu")
    assert set(seen) == {torch.bfloat16, (torch.float32, False, torch.float32)}
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.1 * float(exact.abs().max()))


@pytest.mark.parametrize("weights", ["fade", "shapley", "runs"])
def test_features_in_16_bit_inside_a_recurrent_model_are_weighed_in_float32(weights):
    model, explainer = made(Folded), WhenWhere(weights=weights)
    with torch.no_grad():
        model.rnn.weight_ih_l0 *= 100  # so that frames differ by more than the rounding of 8 bits
    exact = explainer.attribute(model, X, Logit(0)).extra["weights"]
    with torch.autocast("cpu", torch.bfloat16):
        found = [explainer.attribute(model, X, Logit(0))]
    found.append(explainer.attribute(model.bfloat16(), X, Logit(0)))
    for each in found:
        assert each.extra["weights"].dtype == torch.float32
        assert each.certificate.deletion_rank is not None
        assert torch.cosine_similarity(each.extra["weights"], exact) > 0.9


def test_an_error_leaves_the_calls_as_they_were():
    model = made(Folded).bfloat16()
    own = vars(model)["forward"] = model.forward
    with pytest.raises(ZeroDivisionError), assert_no_residue(model), at_its_calls(model):
        model("no tensor" if vars(model)["forward"] is own else Fraction(1, 0))
    assert vars(model)["forward"] is own


def test_a_clip_is_given_as_the_models_parameters_are():
    for kind in (torch.float64, torch.float32, torch.bfloat16):
        assert Gradient()(made(Folded).to(kind), X, Logit(0)).dtype == torch.float32
    mixed = nn.Sequential(made(Folded), nn.Linear(3, 3).double())
    mixed.forward = lambda x: mixed[1](mixed[0](x).double())
    assert Gradient()(mixed, X, Logit(0)).abs().max() > 0
