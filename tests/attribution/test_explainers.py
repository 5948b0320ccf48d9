"""Every listed explainer on every way a user may write a model."""

import pytest
import torch

from vidence.attribution import EXPLAINERS, ON_ANY_SCORE
from vidence.attribution.families import family_of
from vidence.errors import ExplainError
from vidence.scoring.scores import AbsoluteError, CentreDistance, Logit, SquaredError
from vidence.testing import check_explainer
from zoo import AUTOENCODERS, CLIP_MODELS, Autoencoder, Cnn, Folded, Functional, TwoStages, Volume, made

NEEDS_FRAMES = {"temporal-mask"}  # keys that refuse a single image
CLASS_AGNOSTIC: set[str] = {
    "eigen-cam",
    "fast-cam",
    "attention-map",
    "attention-rollout",
}  # keys whose map is the same for every score
# key -> families (vidence.attribution.families) and models of the zoo that it refuses
REFUSES: dict[str, set[str]] = {
    "cam": {"recurrent", "reconstruction", "transformer", "Functional"},  # the last has no global average pooling
    "class-feature-pyramids": {"reconstruction", "transformer"},
    "guided-backprop": {"transformer"},
    "deconvnet": {"transformer"},
    "excitation-backprop": {"reconstruction", "transformer"},
    "fast-cam": {"transformer"},
    "poly-cam": {"transformer"},
    "saliency-tubes": {"recurrent", "reconstruction", "frames", "transformer"},
    "fgvis": {"reconstruction", "transformer"},
    "input-attention": {"recurrent", "volume", "frames", "transformer", "reconstruction"},  # none of the zoo's has one
    "integrated-cam": {"frames", "reconstruction", "transformer", "volume"},
    "masking-model": {"recurrent", "volume", "frames", "reconstruction", "transformer"},  # no masker is trained
    "residual": {"recurrent", "volume", "frames", "transformer"},
    "temporal-influence": {"recurrent", "volume", "frames", "transformer"},
    **dict.fromkeys(
        ("attention-map", "attention-rollout", "cdam", "integrated-cdam", "smooth-cdam", "transformer-relevance"),
        {"recurrent", "volume", "frames", "reconstruction"},  # none of the zoo's autoencoders has attention
    ),
}


LOGITS = (Logit(0), Logit(1))


def check(key, model, x, scores=LOGITS):
    explainer = EXPLAINERS[key].quick()
    refused = {family_of(model), type(model).__name__} & REFUSES.get(key, set())
    if refused or (x.shape[2] == 1 and key in NEEDS_FRAMES):
        with pytest.raises(ExplainError):
            explainer(model, x, scores[0])
        return
    check_explainer(explainer, model, x, scores, class_specific=key not in CLASS_AGNOSTIC)


@pytest.mark.parametrize("key", EXPLAINERS)
@pytest.mark.parametrize("build", CLIP_MODELS.values(), ids=CLIP_MODELS)
def test_clips(key, build):
    check(key, made(build), torch.rand(2, 3, 5, 14, 12))


@pytest.mark.parametrize("key", EXPLAINERS)
@pytest.mark.parametrize("build", [Cnn, Folded, TwoStages, Volume, Functional])
def test_an_image_is_a_clip_of_one_frame(key, build):
    check(key, made(build), torch.rand(2, 3, 1, 14, 12))


@pytest.mark.parametrize("key", EXPLAINERS)
@pytest.mark.parametrize("build", AUTOENCODERS.values(), ids=AUTOENCODERS)
@pytest.mark.parametrize("mode", ["live", "fixed"])
def test_autoencoders(key, build, mode):
    scores = (SquaredError(mode=mode), SquaredError(frame=4, mode=mode))
    check(key, made(build), torch.rand(2, 3, 5, 14, 12), scores)


@pytest.mark.parametrize("key", ON_ANY_SCORE)
def test_a_distance_between_embeddings(key):
    shot = torch.rand(2, 3, 5, 14, 12)
    scores = (CentreDistance(), CentreDistance(frame=4))
    check(key, made(Autoencoder), shot, scores)


def test_an_image_through_an_autoencoder():
    for key in EXPLAINERS:
        check(key, made(Autoencoder), torch.rand(2, 3, 1, 14, 12), (SquaredError(), AbsoluteError()))


def test_the_residual_has_nothing_to_say_of_a_classifier():
    for model, score in ((made(Folded), Logit(0)), (made(Autoencoder), CentreDistance())):
        with pytest.raises(ExplainError, match="spread over pixels"):
            EXPLAINERS["residual"]()(model, torch.rand(1, 3, 5, 14, 12), score)


@pytest.mark.parametrize("key", EXPLAINERS)
def test_works_without_arguments(key):
    assert EXPLAINERS[key]() == EXPLAINERS[key]()
