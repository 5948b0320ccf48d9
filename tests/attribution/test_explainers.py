"""Every listed explainer on every kind of model it applies to, and every refusal on all others (house.md, A.36)."""

import re
from pathlib import Path

import pytest
import torch

from vidence.attribution import COMBINE, EXPLAINERS, ON_ANY_SCORE
from vidence.attribution.families import family_of
from vidence.errors import ExplainError
from vidence.scoring.scores import AbsoluteError, CentreDistance, Logit, SquaredError
from vidence.testing import check_explainer, counted_passes
from zoo import (
    AUTOENCODERS,
    CLIP_MODELS,
    OF_FAMILY,
    Autoencoder,
    Cnn,
    Folded,
    Functional,
    Transformer,
    TwoStages,
    Volume,
    made,
)

TABLE = {**EXPLAINERS, **COMBINE}
# Methods that ask the model through `Subject` alone: how a model is written cannot reach them but through the score
# and its gradient in pixels, which `gradient`, `integrated-gradients` and `occlusion` check on the whole zoo. One model
# of each family is enough for these; all others look inside.
BLACK_BOX = {
    *("adaptive-occlusion", "blur-ig", "counterfactual-box", "extremal-perturbation", "gradient-shap", "igos"),
    *("igos++", "input-x-gradient", "kernel-shap", "lime", "masking-model", "meaningful-perturbation", "residual"),
    *("rise", "smooth-grad", "smooth-grad-squared", "temporal-influence", "temporal-mask", "var-grad", *COMBINE),
}
CLASS_AGNOSTIC = {"eigen-cam", "fast-cam", "attention-map", "attention-rollout"}  # the same map for every score
# what this model lacks, whatever its family, or only a forward pass shows: key -> families and models of the zoo
REFUSED_BESIDES = {
    "cam": {"Functional"},  # no global average pooling
    "saliency-tubes": {"frames"},  # no 3-D convolution
    "input-attention": {"reconstruction"},  # none of the zoo's has one
    "integrated-cam": {"frames", "Maps"},  # no layer whose features are a frame's
    **{key: {"Divided"} for key in ("deconvnet", "fgvis", "guided-backprop")},  # GELU, and no ReLU
}
LOGITS = (Logit(0), Logit(1))


def documented():
    """(key, family) of the table in the docs -> keys to take instead."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "explainers.md").read_text()
    rows = re.findall(r"^\| (`.+`) \| (.+) \| (.+) \|$", page.split("## What is refused")[1].split("\n## ")[0], re.M)
    return {
        (key, family): re.findall(r"`([\w+-]+)`", instead)
        for keys, families, instead in rows
        for key in re.findall(r"`([\w+-]+)`", keys)
        for family in re.findall(r"\b(image|" + "|".join(OF_FAMILY) + r")\b", families)
    }


REFUSED = documented()


def is_refused(key, model, x):
    kinds = {family_of(model)} | ({"image"} if x.shape[2] == 1 else set())
    return any((key, kind) in REFUSED for kind in kinds)


def check(key, model, x, scores=LOGITS):
    explainer = TABLE[key].quick()
    if is_refused(key, model, x) or {family_of(model), type(model).__name__} & REFUSED_BESIDES.get(key, set()):
        with pytest.raises(ExplainError) as refusal:
            explainer(model, x, scores[0])
        assert named_in(str(refusal.value)) - {key}
        return
    check_explainer(explainer, model, x, scores, class_specific=key not in CLASS_AGNOSTIC)


def named_in(sentence):
    """The keys that a sentence names."""
    return set(re.findall(r"[a-z][a-z0-9+-]*", sentence)) & set(EXPLAINERS)


def pairs(models):
    """Every key with every model, or with one of each family where the key does not look inside."""
    standing_for = set(OF_FAMILY.values())
    return [
        pytest.param(key, build, id=f"{name}-{key}")
        for key in TABLE
        for name, build in models.items()
        if key not in BLACK_BOX or build in standing_for
    ]


@pytest.mark.parametrize(("key", "build"), pairs(CLIP_MODELS))
def test_clips(key, build):
    check(key, made(build), torch.rand(2, 3, 5, 14, 12))


IMAGES = {build.__name__: build for build in (Cnn, Folded, TwoStages, Volume, Functional, Transformer)}


@pytest.mark.parametrize(("key", "build"), pairs(IMAGES))
def test_an_image_is_a_clip_of_one_frame(key, build):
    check(key, made(build), torch.rand(2, 3, 1, 14, 12))


@pytest.mark.parametrize(("key", "build"), pairs(AUTOENCODERS))
@pytest.mark.parametrize("mode", ["live", "fixed"])
def test_autoencoders(key, build, mode):
    scores = (SquaredError(mode=mode), SquaredError(frame=4, mode=mode))
    check(key, made(build), torch.rand(2, 3, 5, 14, 12), scores)


@pytest.mark.parametrize("key", ON_ANY_SCORE)
def test_a_distance_between_embeddings(key):
    scores = (CentreDistance(), CentreDistance(frame=4))
    check(key, made(Autoencoder), torch.rand(2, 3, 5, 14, 12), scores)


@pytest.mark.parametrize("key", TABLE)
def test_an_image_through_an_autoencoder(key):
    check(key, made(Autoencoder), torch.rand(2, 3, 1, 14, 12), (SquaredError(), AbsoluteError()))


@pytest.mark.parametrize("key", TABLE)
@pytest.mark.parametrize("family", [*OF_FAMILY, "image"])
def test_refusals_are_those_of_the_docs_and_cost_nothing(key, family):
    model = made(OF_FAMILY.get(family, Folded))
    score = SquaredError() if family == "reconstruction" else Logit(0)
    x = torch.rand(1, 3, 1 if family == "image" else 5, 14, 12)
    explainer = TABLE[key].quick()
    said = explainer.refusal(model, x, score)
    assert (said is not None) == is_refused(key, model, x)
    if said is None:
        return
    assert named_in(said) >= set(REFUSED[key, family if (key, family) in REFUSED else family_of(model)])
    with counted_passes(model) as passes, pytest.raises(ExplainError, match=re.escape(said)):
        explainer.attribute(model, x, score)
    assert passes.forwards == 0


def test_the_residual_has_nothing_to_say_of_a_classifier():
    for model, score in ((made(Folded), Logit(0)), (made(Autoencoder), CentreDistance())):
        with pytest.raises(ExplainError, match="spread over pixels"):
            EXPLAINERS["residual"]()(model, torch.rand(1, 3, 5, 14, 12), score)


def test_what_is_said_of_keys_is_said_of_keys_that_exist():
    assert set(TABLE) >= BLACK_BOX | CLASS_AGNOSTIC | set(REFUSED_BESIDES) | {key for key, _ in REFUSED}
    assert {name for instead in REFUSED.values() for name in instead} <= set(EXPLAINERS)


@pytest.mark.parametrize("key", TABLE)
def test_works_without_arguments(key):
    assert TABLE[key]() == TABLE[key]()


@pytest.mark.parametrize("key", TABLE)
def test_a_score_pinned_on_a_batch_knows_of_each_clip_what_it_knows_of_one(key):
    model, x = made(Autoencoder).eval(), torch.rand(2, 3, 5, 14, 12)
    explainer = TABLE[key].quick()
    if is_refused(key, model, x) or "reconstruction" in REFUSED_BESIDES.get(key, set()):
        return
    score = SquaredError(frame=4, mode="fixed")
    together = explainer.attribute(model, x, score.pin(model(x), x))
    flags: list[str] = []
    for place in range(2):
        clip = x[place : place + 1]
        alone = explainer.attribute(model, clip, score.pin(model(clip), clip))
        scale = float(alone.values.abs().max())
        torch.testing.assert_close(together.values[place : place + 1], alone.values, rtol=1e-4, atol=1e-4 * scale)
        flags += [flag for flag in alone.certificate.flags if flag not in flags]
        assert together.extra["certificates"][place].flags == alone.certificate.flags
        for name, value in alone.extra.items():
            if value is None or isinstance(value, str | tuple | int):
                assert together.extra[name][place] == value, name
        assert {*alone.extra, "certificates"} == together.extra.keys()  # each clip's own, of a batch alone
    assert all(any(told.endswith(flag) for flag in flags) for told in together.certificate.flags)
