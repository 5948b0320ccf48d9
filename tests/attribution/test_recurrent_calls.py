"""What follows a recurrent call is run for many variants only where it says of each what it says of a clip."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.attribution import FrameOcclusion, GradCAM, IntegratedCAM, WhenWhere
from vidence.attribution.recurrent_calls import ABREAST, LATER, PAST, SINGLY
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit
from vidence.testing import assert_no_residue, counted_passes
from zoo import Folded

X = torch.rand(1, 3, 6, 14, 12, generator=torch.Generator().manual_seed(0))


class Headed(Folded):
    """Frame features, and what follows them as written in one line."""

    def __init__(self, decide):
        super().__init__()
        self.decide_ = decide  # not `decide`, which could be called alone
        self.other, self.wide = nn.GRU(5, 7, batch_first=True), nn.Linear(5, 7)
        self.again, self.flat = nn.GRU(7, 7, batch_first=True), nn.Linear(42, 3)
        self.moves, self.drawn = nn.Parameter(torch.randn(3, 3, 3, 3, 3)), nn.Parameter(torch.randn(3, 1, 3, 3))

    def forward(self, x):
        return self.decide_(self, self.features(x), x)


def headed(decide):
    torch.manual_seed(3)
    return Headed(decide).eval()


def last(model, features):
    return model.rnn(features)[0][:, -1]


def in_steps(model, features, x):
    state = None
    for frame in features.unbind(1):
        made, state = model.rnn(frame[:, None], state)
    return model.out(made[:, -1])


def per_clip(model, features, x):
    return torch.stack([model.out(model.rnn(clip)[0][-1]) for clip in features])


def by_steps(model, f, x):
    made = model.rnn(f)[0]
    return model.out(made.reshape(len(x) * f.shape[1], -1)).view(len(x), f.shape[1], -1).mean(1)


def filled(model, f, x):
    frames = x.new_zeros(f.shape)
    for place in range(f.shape[1]):
        frames[:, place] = f[:, place]
    return model.out(last(model, frames))


def kept(model, f, x):
    frames = x.new_zeros(f.shape)
    for place in range(f.shape[1]):
        frames[:, place].copy_(f[:, place])
    return model.out(last(model, f) + model.wide(frames).amax(1))


BESIDE = {
    "backwards": (lambda m, f, x: m.out(m.rnn(f)[0].mean(1) + m.other(f.flip(1))[0].mean(1)), ABREAST),
    "of another width": (lambda m, f, x: m.out(last(m, f) + m.again(m.wide(f))[0][:, -1]), ABREAST),
    "added": (lambda m, f, x: m.out(0.1 * last(m, f) + m.wide(f).amax(1)), PAST),
    "appended": (
        lambda m, f, x: m.out(torch.cat([last(m, f), m.wide(f).amax(1)], 1).unflatten(1, (2, 7)).sum(1)),
        PAST,
    ),
    "initial state": (lambda m, f, x: m.out(m.rnn(f, m.wide(f.mean(1))[None])[0][:, -1]), PAST),
    "detached": (lambda m, f, x: m.out(last(m, f) + m.wide(f).detach().amax(1)), PAST),
    "mask": (lambda m, f, x: m.out((m.rnn(f)[0] * (f.sum(2, keepdim=True) > f.mean())).mean(1)), PAST),
    "another stream": (lambda m, f, x: m.out(last(m, f)) + F.conv3d(x, m.moves).amax((2, 3, 4)), PAST),
    "in memory": (kept, PAST),
    "in place": (lambda m, f, x: m.out(last(m, f).add_(m.wide(f).amax(1))), PAST),
}
SINGLE = {
    "time distributed head": by_steps,
    "flat": lambda m, f, x: m.flat(m.rnn(f)[0][..., :7].reshape(len(x), -1)),
    "state of a second layer": lambda m, f, x: m.out(m.again(m.rnn(f)[0], torch.zeros(1, len(x), 7))[0][:, -1]),
    "attention": lambda m, f, x: m.out(torch.bmm(m.rnn(f)[0].transpose(1, 2), f.new_ones(len(x), 6, 1))[..., 0]),
    "decoder": lambda m, f, x: m.out(m.again(torch.zeros(len(x), 2, 7), m.rnn(f)[1])[0][:, -1]),
    "last by number": lambda m, f, x: m.out(m.rnn(f)[0][torch.arange(len(x)), 5]),
    "gathered": lambda m, f, x: m.out(m.rnn(f)[0].gather(1, torch.full((len(x), 1, 7), 5))[:, 0]),
    "in steps": in_steps,
    "clip by clip": per_clip,
}
ALONE = {
    "plain": lambda m, f, x: m.out(last(m, f)),
    "like": lambda m, f, x: m.out(m.rnn(f, torch.zeros_like(f[:, :1, :1].expand(-1, -1, 7)))[0][:, -1].to(x)),
    "new": lambda m, f, x: m.out(m.rnn(f, f.new_zeros(1, len(x), 7))[0][:, -1]) + x.new_zeros(3),
    "filled": filled,
}
APART = {name: (decide, why) for name, (decide, why) in BESIDE.items()} | {
    name: (decide, SINGLY) for name, decide in SINGLE.items()
}


@pytest.mark.parametrize(("decide", "why"), APART.values(), ids=APART)
def test_frames_are_hidden_in_the_pixels_where_the_head_cannot_be_run_alone(decide, why):
    model, explainer = headed(decide), WhenWhere()
    with assert_no_residue(model), counted_passes(model) as passes:
        found = explainer.attribute(model, X, Logit(0), certify=False)
    hidden = FrameOcclusion().attribute(model, X, Logit(0))
    torch.testing.assert_close(found.extra["weights"], hidden.raw)
    assert passes.forwards <= explainer.price(6, 14, 12).forwards
    assert found.certificate.flags[0].startswith(f"{why}: 6 frames were hidden in the pixels one by one")
    with pytest.raises(ExplainError, match=rf"{why}: take integrated-gradients"):
        IntegratedCAM()(model, X, Logit(0))


@pytest.mark.parametrize("decide", ALONE.values(), ids=ALONE)
def test_a_head_that_nothing_else_reaches_is_run_alone_in_one_pass(decide):
    plain, model = headed(ALONE["plain"]), headed(decide)
    for explainer in (WhenWhere(), WhenWhere(weights="fade"), IntegratedCAM(steps=4, limit=4)):
        with counted_passes(model) as passes:
            found = explainer.attribute(model, X, Logit(0), certify=False)
        assert passes.forwards == 1
        torch.testing.assert_close(found.values, explainer.attribute(plain, X, Logit(0), certify=False).values)


def test_two_layers_side_by_side_name_the_frame_of_the_event():
    """Class 0 reads the forward layer alone, and there is nothing but one event."""
    torch.manual_seed(0)
    model = headed(lambda m, f, x: m.out(torch.cat([m.rnn(f)[0].mean(1), m.other(f.flip(1))[0].mean(1)], 1)))
    model.out = nn.Linear(14, 3)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    model.out.weight.data[0, 7:] = 0
    x = torch.full((1, 3, 8, 16, 16), 0.3)
    x[:, :, 1, 4:12, 4:12] = 1.0
    assert WhenWhere()(model, x, Logit(0)).sum((2, 3)).abs().argmax() == 1


def test_a_layer_behind_the_recurrent_one_is_no_place_to_start_from():
    model = headed(lambda m, f, x: F.conv2d(m.rnn(f)[0][:, None], m.drawn).amax((2, 3)))
    assert WhenWhere().attribute(model, X, Logit(0)).certificate.flags[0].startswith(LATER)
    with pytest.raises(ExplainError, match=LATER):
        IntegratedCAM()(model, X, Logit(0))


def broken(model, features, x):
    last(model, features)
    raise ValueError("no such head")


def full(model, features, x):
    made = model.out(last(model, features))
    if len(made) > 1:
        raise torch.OutOfMemoryError("full")
    return made


def test_what_a_model_says_of_the_clip_itself_is_told_as_it_is():
    with pytest.raises(ExplainError, match=r"the model refused a clip \(1, 3, 6, 14, 12\): no such head"):
        WhenWhere()(headed(broken), X, Logit(0))
    with pytest.raises(torch.OutOfMemoryError):
        WhenWhere()(headed(full), X, Logit(0))
    with pytest.raises(ExplainError, match=r"pick=lambda output: output\[None\]"):
        WhenWhere()(headed(lambda m, f, x: m.out(last(m, f)).mean()), X, Logit(0))


def test_a_pass_that_was_given_up_is_no_answer_to_the_clip():
    class First:
        """Reads a named output, whatever its rows."""

        def __call__(self, output, x):
            return output["logits"][:, 0]

    model = headed(lambda m, f, x: {"logits": m.out(last(m, f)).softmax(0).sum(0, keepdim=True)})
    flags = WhenWhere().attribute(model, X[:, :, :, :7], First(), certify=False).certificate.flags
    assert flags[0].startswith(SINGLY)
    single = headed(lambda m, f, x: {"logits": m.out(last(m, f))[: len(x)]})
    assert not any("two passes" in flag for flag in WhenWhere().attribute(single, X, First()).certificate.flags)


def test_frame_features_are_those_of_the_pass_that_marked_the_layer():
    """`late` is called first, so that the layer is found by a pass of its own."""

    class Late(Folded):
        def __init__(self):
            super().__init__()
            self.late = nn.Conv2d(3, 3, 1)

        def features(self, x):
            return super().features(self.late(x[0].transpose(0, 1)).transpose(0, 1)[None])

    torch.manual_seed(3)
    found = GradCAM(weights="frame_local").attribute(Late().eval(), X, Logit(0), certify=False)
    assert found.values.any()
