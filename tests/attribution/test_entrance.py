"""What is checked at the door, and what the model's own answers say of themselves."""

import re
from functools import wraps

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.attribution import EXPLAINERS, GradCAM, Gradient, InputXGradient, Occlusion, Smooth, WhenWhere
from vidence.attribution.entrance import check_layers
from vidence.errors import ExplainError, ShapeError
from vidence.models.adapted import Adapted
from vidence.scoring.scores import Contrast, Logit, Probability
from vidence.testing import assert_no_residue, counted_passes
from zoo import OF_FAMILY, Folded, Functional, Volume, made

X = torch.rand(1, 3, 4, 14, 12, generator=torch.Generator().manual_seed(0))


class Behind(nn.Module):
    """A model of the zoo whose input or output is changed."""

    def __init__(self, change=lambda output: output, before=lambda x: x, inner=None):
        super().__init__()
        self.inner, self.change, self.before = inner or made(Folded), change, before

    def forward(self, x):
        return self.change(self.inner(self.before(x)))


def flags(model, explainer=None, score=None, x=X, certify=True):
    return (explainer or Gradient()).attribute(model, x, score or Logit(), certify=certify).certificate.flags


def asked_of(flags, text):
    return [flag for flag in flags if text in flag]


# the clip


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_clip_that_is_not_finite_is_refused_before_any_pass(value):
    x = X.clone()
    x[0, 0, 1, 2, 3:5] = value
    model = made(Folded)
    with counted_passes(model) as passes, pytest.raises(ShapeError, match=f"2 of {x.numel()} values are NaN"):
        Gradient().attribute(model, x, Logit())
    assert passes.forwards == 0


def test_what_is_no_tensor_is_told_how_to_become_one():
    with pytest.raises(ShapeError, match=r"got ndarray.*permute\(3, 0, 1, 2\)"):
        Gradient().attribute(made(Folded), X.numpy(), Logit())


class TwoStream(nn.Module):
    """A model of two inputs, with another word for itself."""

    def forward(this, clips):
        rgb, flow = clips
        return (rgb + flow).mean((2, 3, 4))


def test_several_inputs_are_told_to_be_made_from_one_clip():
    with pytest.raises(ShapeError, match=r"got 2 tensors.*several inputs .*a module that makes them from one clip"):
        Gradient().attribute(made(Folded), (X, X), Logit())
    with pytest.raises(ExplainError, match="module that makes them from one clip"):
        Gradient().attribute(TwoStream(), X, Logit())


@pytest.mark.parametrize(
    ("x", "told"),
    [
        ((X * 255).byte(), "x.float() / 255"),
        ((X[0] * 255).byte(), "x[None].float() / 255"),
        (X[0], "x[None]"),
        (X[:, :, 0], "x[:, :, None]"),
    ],
)
def test_a_tensor_that_is_no_clip_is_told_how_to_become_one(x, told):
    with pytest.raises(ShapeError, match=re.escape(told)):
        Gradient().attribute(made(Folded), x, Logit())


def test_values_outside_0_to_1_are_flagged_once_for_a_batch():
    x = torch.cat([X, X])
    assert flags(made(Folded), x=x, certify=False) == ()
    x[1, 0, 0, 0, :2] = torch.tensor([-2.0, 3.5])
    found = flags(made(Folded), x=x, certify=False)
    assert len(found) == 1
    assert "reach from -2 to 3.5" in found[0]
    assert not asked_of(flags(made(Folded), x=X * (1 + 5e-4), certify=False), "reach from")


def test_a_clip_takes_the_type_of_the_model():
    found = Gradient().attribute(made(Folded), X.double(), Logit())
    torch.testing.assert_close(found.values, Gradient().attribute(made(Folded), X, Logit()).values)


# the model's first answer


def test_an_error_of_the_first_pass_is_told_in_words_and_keeps_its_cause():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with assert_no_residue(model), pytest.raises(ExplainError, match=r"refused a clip \(1, 3, 4, 14, 12\)") as error:
        Gradient().attribute(model, X, Logit())
    assert isinstance(error.value.__cause__, RuntimeError)
    assert str(error.value.__cause__).splitlines()[0].rstrip(".") in str(error.value)
    assert "Adapted(model, layout=" in str(error.value)


def filtered(method):
    """A decorator that drops the frames below it from a traceback, as Keras's does."""

    @wraps(method)
    def called(*args, **kwargs):
        try:
            return method(*args, **kwargs)
        except ValueError as error:
            raise error.with_traceback(None) from None

    return called


class Filtering(nn.Module):
    """Refuses a clip as Keras does: without frames of its own, before its call proper or inside."""

    def __init__(self, early):
        super().__init__()
        self.early = early

    def forward(self, x):
        raise ValueError("expected shape=(None, 8, 32, 32, 3)")

    @filtered
    def __call__(self, x):
        return self.forward(x) if self.early else super().__call__(x)


@pytest.mark.parametrize("early", [True, False])
def test_a_refusal_whose_frames_were_filtered_is_told_in_words(early):
    with pytest.raises(ExplainError, match=r"the model refused a clip.*expected shape.*layout="):
        Gradient().attribute(Filtering(early), X, Logit())


def refusing(error, *, calls=0):
    """Raises after so many calls."""
    seen = []

    def change(output):
        seen.append(1)
        if len(seen) > calls:
            raise error
        return output

    return Behind(change).eval()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ShapeError("ours"), torch.OutOfMemoryError("full")])
def test_what_is_no_misfit_passes_through_as_it_is(error):
    with pytest.raises(type(error)) as found:
        Gradient().attribute(refusing(error), X, Logit())
    assert found.value is error


def test_errors_of_later_passes_and_of_the_score_pass_through():
    error = RuntimeError("later")
    with pytest.raises(RuntimeError) as found:
        Occlusion().attribute(refusing(error, calls=1), X, Logit())
    assert found.value is error

    def score(output, x):
        raise error

    with pytest.raises(RuntimeError) as found:
        Gradient().attribute(made(Folded), X, score)
    assert found.value is error


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_output_that_is_not_finite_is_refused(value):
    with pytest.raises(ExplainError, match="returned 3 of 3 values NaN or infinite"):
        Occlusion().attribute(Behind(lambda output: output * 0 + value), X, Logit(), certify=False)


def test_a_class_that_is_ruled_out_may_be_minus_infinity():
    ruled_out = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert Gradient()(Behind(lambda output: output + ruled_out), X, Logit(0)).any()


@pytest.mark.parametrize("explainer", [Gradient(), GradCAM(), Occlusion(), EXPLAINERS["rise"](n=4)])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda output: output.squeeze(0), "output[None]"),
        (lambda output: output.sum(), "output[None]"),
        (lambda output: output.repeat_interleave(4, 0), "unflatten(0, (-1, 4)).mean(dim=1)"),
    ],
)
def test_other_rows_than_clips_are_refused_with_what_to_do(explainer, change, said):
    with pytest.raises(ExplainError, match=re.escape(said)):
        explainer.attribute(Behind(change), X, Logit(0))


def test_a_model_of_one_clip_at_a_time_is_told_of_chunks():
    single = Behind(lambda output: output[:1])
    with pytest.raises(ExplainError, match=r"returned \(1, 3\).*chunk=1"):
        EXPLAINERS["rise"](n=4).attribute(single, X, Logit(0), certify=False)
    assert EXPLAINERS["rise"](n=4, chunk=1)(single, X, Logit(0)).any()


def test_rows_are_those_of_the_variants_where_a_recurrent_layer_sees_several_and_told_of_the_clip_itself():
    assert WhenWhere()(made(Folded), X, Logit(0)).any()
    with pytest.raises(ExplainError, match=r"of 1 clips it returned \(2, 3\)"):
        WhenWhere().attribute(Behind(lambda output: output.repeat_interleave(2, 0)), X, Logit(0))


def test_a_frame_model_that_folds_its_frames_is_helped_as_told():
    folded = Adapted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten()), layout="(n t) c h w")
    with pytest.raises(ExplainError, match=r"of 1 clips it returned \(4, 4\)") as error:
        Gradient().attribute(folded.eval(), X, Logit(0))
    told = re.search(r"pick=(lambda output: .*)\)\.$", str(error.value)).group(1)
    pick = lambda output: output.unflatten(0, (-1, 4)).mean(dim=1)  # noqa: E731
    assert told == "lambda output: output.unflatten(0, (-1, 4)).mean(dim=1)"
    assert Gradient()(Behind(pick, inner=folded), X, Logit(0)).any()


def test_frame_logits_are_told_what_to_do():
    with pytest.raises(ShapeError, match=r"pick=lambda output: output.mean\(dim=1\)"):
        Gradient().attribute(Behind(lambda output: output[:, None].expand(-1, 4, -1)), X, Logit())


# what the answers say


def test_probabilities_instead_of_logits_are_flagged():
    softmax, sigmoid = Behind(lambda output: output.softmax(1)), Behind(lambda output: output.sigmoid())
    for score in (Logit(), Contrast(), Probability()):
        assert asked_of(flags(softmax, score=score), "looks like probabilities")
        assert not asked_of(flags(made(Folded), score=score), "looks like probabilities")
        assert not asked_of(flags(sigmoid, score=score), "looks like probabilities")
    assert not asked_of(flags(softmax, score=Probability(of="probabilities")), "looks like probabilities")


class Stateful(nn.Module):
    """Goes on from the state that the last call left."""

    def __init__(self):
        super().__init__()
        self.inner, self.state = made(Folded), torch.zeros(1)

    def forward(self, x):
        output = self.inner(x)
        kept, self.state = self.state, output.detach()[:1]
        return output + kept


@pytest.mark.parametrize(
    "explainer", [Gradient(), WhenWhere(), Occlusion(), EXPLAINERS["frame-occlusion"](), EXPLAINERS["rise"](n=4)]
)
def test_a_model_that_draws_or_remembers_is_flagged(explainer):
    drawing = Behind(lambda output: F.dropout(output, 0.5, training=True))
    for model in (drawing, Stateful()):
        assert asked_of(flags(model, explainer), "two passes of the same clip differ")
        assert not asked_of(flags(model, explainer, certify=False), "two passes")


def test_an_image_that_is_drawn_from_is_flagged_too():
    drawing = Behind(before=lambda x: F.dropout(x, 0.5, training=True))
    assert asked_of(flags(drawing, x=X[:, :, :1]), "two passes of the same clip differ")


@pytest.mark.parametrize("weights", ["fade", "shapley", "runs"])
def test_the_clip_is_found_among_the_variants_of_a_recurrent_layer(weights):
    assert not asked_of(flags(made(Folded), WhenWhere(weights=weights)), "two passes")


@pytest.mark.parametrize("name", ["recurrent", "volume", "transformer"])
@pytest.mark.parametrize("key", EXPLAINERS)
def test_no_other_model_is_flagged(key, name):
    model, explainer = made(OF_FAMILY[name]), EXPLAINERS[key].quick()
    if explainer.refusal(model, X, Logit(0)):
        return
    try:
        found = flags(model, explainer, Logit(0))
    except ExplainError:  # refused by what only a pass shows
        return
    assert not asked_of(found, "two passes")
    assert not asked_of(found, "no gradient reaches")
    assert not asked_of(found, "reach from")


CUTS = {
    "detach": lambda output: output.detach(),
    "inference_mode": lambda output: torch.inference_mode()(lambda: output * 1)(),
    "numpy": lambda output: torch.from_numpy(output.detach().numpy()),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("explainer", [Gradient(), InputXGradient(), GradCAM(), EXPLAINERS["integrated-gradients"]()])
def test_a_gradient_that_is_cut_is_not_said_to_be_none(cut, explainer):
    found = flags(Behind(CUTS[cut]), explainer, Logit(0), certify=False)
    assert found[0].startswith("no gradient reaches")
    assert "occlusion" in found[0]
    assert not asked_of(found, "does not depend")


def test_a_score_that_does_not_depend_on_the_pixels_is_said_so():
    found = flags(Behind(lambda output: output * 0), certify=False)
    assert asked_of(found, "does not depend on the pixels")
    assert not asked_of(found, "no gradient")


def test_watching_costs_no_pass():
    with counted_passes(made(Folded)) as passes:
        pass
    model = made(Volume)
    with counted_passes(model) as passes:
        Gradient().attribute(model, X, Logit(), certify=False)
    assert passes.forwards == 1
    with counted_passes(model) as passes:
        Gradient().attribute(model, X, Logit())
    assert passes.forwards == 1 + 1 + X.shape[2]  # the clip, once more for the deletions, and each frame hidden


# layers by name


@pytest.mark.parametrize(
    "explainer",
    [GradCAM(layer="conv9"), Smooth(GradCAM(layer="conv9")), EXPLAINERS["fast-cam"](layers=("cnn.one", "conv9"))],
)
def test_a_layer_that_is_not_there_is_found_in_the_settings(explainer):
    with pytest.raises(ExplainError, match="'conv9' names none"):
        check_layers(explainer, made(Folded))


def test_layers_that_are_there_pass():
    named = [GradCAM(layer=name) for name in ("cnn.one", "one", "cnn.one+", "cnn.relu#2")]
    for explainer in (*named, GradCAM(), Smooth(), EXPLAINERS["fast-cam"](), WhenWhere()):
        check_layers(explainer, made(Folded))
    check_layers(GradCAM(layer="w1"), made(Functional))
