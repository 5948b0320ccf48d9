"""Integrated gradients of the recurrent head: slow twins, completeness, and the latch whose gradient is gone."""

import pytest
import torch
from torch import nn

from vidence.attribution import IntegratedCAM
from vidence.attribution.integrated_cam import settled
from vidence.attribution.path import nodes
from vidence.attribution.reference import regrouped
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Contrast, Logit, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, Cnn, Folded, Functional, Looped, TwoStages, Volume, made

X = torch.rand(1, 3, 6, 14, 12, generator=torch.Generator().manual_seed(0))


class Latch(nn.Module):
    """Red flips the state of an RNN, which then stays; its gradient is gone."""

    def __init__(self):
        super().__init__()
        self.conv, self.rnn, self.out = nn.Conv2d(3, 2, 3, 2, 1), nn.RNN(2, 1, batch_first=True), nn.Linear(1, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.conv.weight[0] = torch.tensor([1.0, -1.0, -1.0])[:, None, None] / 9
            self.conv.weight[1] = torch.tensor([0.0, 1.0, 0.0])[:, None, None] / 9
            self.rnn.weight_ih_l0[0, 0], self.rnn.weight_hh_l0[:], self.rnn.bias_ih_l0[:] = 300.0, 3.0, -1.0
            self.out.weight[:, 0] = torch.tensor([-4.0, 4.0])

    def features(self, x):
        maps = self.conv(x.transpose(1, 2).flatten(0, 1)).relu()
        return maps.mean((2, 3)).unflatten(0, (len(x), -1))

    def forward(self, x):
        return self.out(self.rnn(self.features(x))[0][:, -1])


class LatchInStages(Latch):
    def encode(self, x):
        return self.features(x)

    def decide(self, features):
        return self.out(self.rnn(features)[0][:, -1])


def film(t=16, side=32, at=9):
    x = (0.3 + 0.2 * torch.rand(3, 1, side, side, generator=torch.Generator().manual_seed(1))).repeat(1, t, 1, 1)
    for i in range(t):
        x[:, i, 2 + i : 8 + i, 22:28] = torch.tensor([0.1, 0.9, 0.1])[:, None, None]
    x[:, at, 4:10, 8:15] = torch.tensor([0.9, 0.05, 0.05])[:, None, None]
    return x[None]


@pytest.mark.parametrize("build", [Latch, LatchInStages])
def test_finds_when_and_where_although_the_gradient_is_gone(build):
    found = IntegratedCAM().attribute(build(), film(), Logit(1))
    weights, values = found.extra["weights"][0], found.values[0]
    assert int(weights.abs().argmax()) == 9
    assert float(weights[9]) > 0.9 * float(found.extra["effect"])
    place = values[9].flatten().argmax()
    assert (4 <= 2 * (int(place) // 16) <= 10, 8 <= 2 * (int(place) % 16) <= 15) == (True, True)
    assert found.certificate.gap <= 0.01
    assert found.certificate.same_top_frame
    assert found.layer == "conv+"


class Strided(nn.Module):
    """A 3-D convolution that halves time, and a GRU over what is left of it, or over that drawn out again."""

    def __init__(self, again=False):
        super().__init__()
        self.conv, self.rnn, self.out = nn.Conv3d(3, 4, 3, 2, 1), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)
        self.again = again

    def forward(self, x):
        features = self.conv(x).relu().mean((3, 4))
        features = features.repeat_interleave(2, dim=2) if self.again else features
        return self.out(self.rnn(features.transpose(1, 2))[0][:, -1])


@pytest.mark.parametrize("again", [False, True])
def test_a_stride_in_time_before_the_recurrent_layer(again):
    torch.manual_seed(0)
    model, x = Strided(again), torch.rand(1, 3, 8, 16, 16)
    found = IntegratedCAM().attribute(model, x, Logit(0))
    weights = found.extra["weights"][0]
    assert found.values.shape == (1, 8, 8, 8)
    assert found.raw.shape == (1, 4, 4, 8, 8)
    assert len(weights) == (8 if again else 4)
    torch.testing.assert_close(found.values.sum(), weights.sum(), rtol=1e-4, atol=1e-5)
    by_frame = weights if again else weights.repeat_interleave(2) / 2
    torch.testing.assert_close(found.values.sum((2, 3))[0], by_frame, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.raw.sum((2, 3, 4))[0], by_frame.view(4, 2).sum(1), rtol=1e-4, atol=1e-5)
    assert found.certificate.deletion_rank is not None


@pytest.mark.parametrize("build", [Folded, TwoStages, Strided, lambda: Strided(again=True)])
def test_a_still_clip_has_no_ordinary_frame_to_stand_out_from(build):
    torch.manual_seed(0)
    model, x = build().eval(), torch.rand(1, 3, 1, 16, 16).expand(1, 3, 8, 16, 16)
    if isinstance(model, Strided):
        nn.init.zeros_(model.conv.weight[:, :, 0].data)  # sees no border in time
    found = IntegratedCAM().attribute(model, x, Logit(0))
    assert not found.values.any()
    assert "the clip stands still" in found.certificate.flags[0]


def test_weights_that_all_but_cancel_keep_their_size():
    weights = torch.tensor([1.0, 2.0, -3.0, 4.0, -4.0, 1e-7])
    found = regrouped(weights, 4)
    torch.testing.assert_close(found, torch.tensor([2.0, -2.0, 2.0, -2.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(regrouped(weights, 6), weights)
    torch.testing.assert_close(regrouped(weights, 12), weights.repeat_interleave(2) / 2)
    torch.testing.assert_close(regrouped(torch.tensor([1.0, -1.0, 1.0, -1.0]), 2), torch.zeros(2))


@pytest.mark.parametrize("baseline", ["median", "mean"])
def test_weights_equal_a_slow_twin_and_sum_to_the_change(baseline):
    model = made(TwoStages).eval()
    found = IntegratedCAM(baseline=baseline, steps=8, limit=8).attribute(model, X, Contrast(0, 1))
    features = model.encode(X).detach()
    frames = features[0].median(dim=0).values if baseline == "median" else features[0].mean(dim=0)
    empty = frames.expand_as(features)
    slow = torch.zeros(6)
    for place, weight in zip(*nodes(8), strict=True):
        leaf = (empty + float(place) * (features - empty)).requires_grad_()
        logits = model.decide(leaf)[0]
        slow += float(weight) * (torch.autograd.grad(logits[0] - logits[1], leaf)[0] * (features - empty)).sum(2)[0]
    torch.testing.assert_close(found.extra["weights"][0], slow, rtol=1e-4, atol=1e-6)
    ends = model.decide(torch.cat([features, empty])).detach()
    change = (ends[:, 0] - ends[:, 1]).diff().neg()
    torch.testing.assert_close(found.extra["effect"], change)
    torch.testing.assert_close(found.gap, change - slow.sum(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.values.sum((2, 3)), found.extra["weights"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.raw.sum((2, 3, 4)), found.extra["weights"], rtol=1e-4, atol=1e-5)
    assert found.raw.shape[:3] == (1, 6, 5)


def test_places_are_exact_where_pooling_and_reference_are_means():
    """Mean pooling of the layer itself: each place's share is its gradient times what it stands out by."""
    model = made(TwoStages).eval()
    found = IntegratedCAM(baseline="mean", layer="cnn.three").attribute(model, X, Logit(0))
    maps = model.cnn.maps(X[0].transpose(0, 1)).detach()
    if (maps == 0).any():  # the ReLU after the named layer keeps what it cuts out of the sums
        assert found.layer == "cnn.three"
    whole = IntegratedCAM(baseline="mean").attribute(model, X, Logit(0))
    empty = maps.mean((2, 3)).mean(0)
    head = whole.extra["weights"][0]
    slope = torch.zeros(6, 5)
    for place, weight in zip(*nodes(32), strict=True):
        features = maps.mean((2, 3))
        leaf = (empty + float(place) * (features - empty))[None].requires_grad_()
        slope += float(weight) * torch.autograd.grad(model.decide(leaf)[0, 0], leaf)[0][0]
    expected = slope[:, :, None, None] * (maps - maps.mean(0)) / maps[0, 0].numel()
    torch.testing.assert_close(expected.sum((1, 2, 3)), head, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(whole.raw[0], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("build", [Folded, Looped, lambda: Folded(nn.LSTM, bidirectional=True)])
def test_the_batch_at_the_recurrent_call_equals_running_the_head(build):
    model = made(build).eval()
    found = IntegratedCAM(steps=8, limit=8).attribute(model, X, Logit(0))
    features = model.features(X).detach()
    empty = features.median(dim=1, keepdim=True).values.expand_as(features)
    slow = torch.zeros(6)
    for place, weight in zip(*nodes(8), strict=True):
        leaf = (empty + float(place) * (features - empty)).requires_grad_()
        score = model.out(model.rnn(leaf)[0][:, -1])[0, 0]
        slow += float(weight) * (torch.autograd.grad(score, leaf)[0] * (features - empty)).sum(2)[0]
    torch.testing.assert_close(found.extra["weights"][0], slow, rtol=1e-4, atol=1e-6)


def test_pieces_are_halved_until_the_sum_is_complete_or_the_certificate_says_so():
    few = IntegratedCAM(steps=2, limit=2).attribute(Latch(), film(), Logit(1))
    assert any("misses" in flag and "2 nodes" in flag for flag in few.certificate.flags)
    more = IntegratedCAM(steps=8).attribute(Latch(), film(), Logit(1))
    assert more.extra["nodes"] > 8
    assert more.certificate.gap <= 0.01
    assert not more.certificate.flags


@pytest.mark.parametrize("build", [Folded, TwoStages])
def test_chunks_change_nothing(build):
    model = made(build)
    whole = IntegratedCAM(steps=8, limit=8).attribute(model, X, Logit(0))
    for chunk in (1, 3):
        parts = IntegratedCAM(steps=8, limit=8, chunk=chunk).attribute(model, X, Logit(0))
        torch.testing.assert_close(parts.values, whole.values, rtol=1e-4, atol=1e-5 * float(whole.values.abs().max()))
        torch.testing.assert_close(parts.raw, whole.raw, rtol=1e-4, atol=1e-5 * float(whole.raw.abs().max()))


def test_the_price_is_one_pass_and_one_more_for_more_nodes():
    model = made(Folded)
    for settings, passed in (({}, 1), ({"steps": 2, "limit": 6, "tolerance": 1e-12}, 3), ({"steps": 4, "chunk": 2}, 2)):
        explainer = IntegratedCAM(**settings)
        with counted_passes(model) as passes:
            found = explainer.attribute(model, X, Logit(0), certify=False)
        assert found.extra["nodes"] <= explainer.limit
        assert (passes.forwards, passes.gradients) == (passed, passed)
        assert explainer.price(6, 14, 12).forwards >= passed
        assert explainer.price(6, 14, 12).at_most


def test_a_frames_places_sum_to_its_weight_whatever_was_found_there():
    raw = torch.tensor([[1.0, -3.0], [0.0, 0.0], [2.0, 2.0]])
    found = settled(raw, torch.tensor([2.0, 3.0, 4.0]))
    torch.testing.assert_close(found.sum(1), torch.tensor([2.0, 3.0, 4.0]))
    torch.testing.assert_close(found[0], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(found[1], torch.tensor([1.5, 1.5]))
    assert torch.equal(found[2], raw[2])


class Mixing(Folded):
    """The mean over the batch comes into the answer: variants would see each other."""

    def forward(self, x):
        return super().forward(x).mean(0, keepdim=True)


def test_what_has_no_frame_features_is_refused_by_name_of_what_to_take():
    x = torch.rand(1, 3, 4, 14, 12)
    for build, score in ((Volume, Logit(0)), (Autoencoder, SquaredError())):
        with pytest.raises(ExplainError, match="has none: take integrated-gradients"):
            IntegratedCAM()(made(build), x, score)
    with pytest.raises(
        ExplainError, match=r"no recurrent layer and no encode/decide was found: take integrated-gradients"
    ):
        IntegratedCAM()(made(Functional), x, Logit(0))
    with pytest.raises(ExplainError, match="no recurrent layer"):
        IntegratedCAM()(made(Cnn), x[:, :, :1], Logit(0))
    with pytest.raises(ExplainError, match="does not answer for many variants of a clip at once: take"):
        IntegratedCAM()(made(Mixing), x, Logit(0))


def test_attention_behind_the_recurrent_layer_is_part_of_the_head():
    class Attending(Folded):
        def __init__(self):
            super().__init__()
            self.attends = nn.MultiheadAttention(7, 1, batch_first=True)

        def forward(self, x):
            states = self.rnn(self.features(x))[0]
            return self.out(self.attends(states, states, states)[0].mean(1))

    found = IntegratedCAM().attribute(made(Attending), X, Logit(0))
    torch.testing.assert_close(found.extra["weights"].sum(1), found.extra["effect"], rtol=0.01, atol=0)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(SpecError, match="baseline must be"):
        IntegratedCAM(baseline="black")
    with pytest.raises(SpecError, match="limit at least steps"):
        IntegratedCAM(steps=8, limit=4)
