"""Excitation backprop against slow twins: probability is handed on in proportion to a w+, and none of it is lost."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vidence.attribution.relevance.excitation import ExcitationBackprop
from vidence.attribution.relevance.released import released_layers
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Contrast, Logit, Probability, SquaredError
from vidence.testing import counted_passes
from zoo import AUTOENCODERS, CLIP_MODELS, Folded, Volume, made

EB, CEB = ExcitationBackprop(), ExcitationBackprop(contrastive=True)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def clip(t=1, h=3, w=2):
    return torch.rand(1, 3, t, h, w, dtype=torch.float64)


def maps_of(explainer, model, x, score=None):
    return explainer.attribute(model.double(), x, Logit(1) if score is None else score, certify=False)


def step(p, a, weight):
    """P_j = a_j sum_k w+_jk p_k / sum_j' a_j' w+_j'k: A10 of check_methods.py."""
    plus = weight.clamp(min=0)
    return a * (plus.T @ torch.where(p == 0, 0, p / (plus @ a)))


def lively(model):
    """The same in double precision with larger biases, so that few units are silent."""
    for name, parameter in model.double().named_parameters():
        if "bias" in name:
            parameter.detach().add_(0.5)
    return model


class Head(nn.Module):
    """Conv (3-D), ReLU, dense, ReLU, dense."""

    def __init__(self, values, dense=True):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 1)
        self.one, self.two = nn.Linear(values, 6) if dense else None, nn.Linear(6, 3)

    def maps(self, x):
        return self.conv(x).relu()

    def forward(self, x):
        return self.two(self.one(self.maps(x).flatten(1)).relu())


def test_equals_its_slow_twin_on_two_layers_and_conserves_mass():
    model, x = lively(Head(24)), clip()
    found = maps_of(EB, model, x)
    a = model.maps(x).flatten()
    hidden = model.one(a).relu()
    p = step(torch.tensor([0.0, 1, 0], dtype=torch.float64), hidden, model.two.weight)
    assert p.sum().item() == pytest.approx(1)
    expected = step(p, a, model.one.weight)
    torch.testing.assert_close(found.raw.flatten(), expected.detach())
    torch.testing.assert_close(
        found.values[0], rearrange(expected, "(k t h w) -> k t h w", k=4, t=1, h=3).sum(0).float()
    )
    assert found.layer == "conv+"
    assert found.raw.sum().item() == pytest.approx(1)
    for row in found.extra["mass"].rows:
        assert row.received == pytest.approx(1)
        assert row.handed_on == pytest.approx(1)


def test_the_contrast_takes_away_what_negated_weights_give():
    model, x = lively(Head(24)), clip()
    a = model.maps(x).flatten()
    hidden = model.one(a).relu()
    start = torch.tensor([0.0, 1, 0], dtype=torch.float64)
    difference = step(start, hidden, model.two.weight) - step(start, hidden, -model.two.weight)
    expected = step(difference, a, model.one.weight).detach()
    found = maps_of(CEB, model, x)
    torch.testing.assert_close(found.raw.flatten(), expected)
    assert found.raw.sum().item() == pytest.approx(0, abs=1e-12)
    assert (found.raw - maps_of(EB, model, x).raw).abs().max() > 0.01


class Between(nn.Module):
    """A convolution with a ReLU, `function` of its maps (linear, with a kernel of its own), a ReLU, dense."""

    def __init__(self, function, kernel=(1,)):
        super().__init__()
        self.conv, self.act, self.out = nn.Conv3d(3, 4, 1), nn.ReLU(), nn.LazyLinear(3)
        self.kernel = nn.Parameter(torch.rand(kernel, dtype=torch.float64) - 0.3)
        self.function = function

    def forward(self, x):
        maps = self.act(self.conv(x))
        return self.out(self.function(maps, self.kernel).relu().flatten(1))


@pytest.mark.parametrize(
    ("function", "kernel"),
    [
        (lambda a, w: F.conv3d(a, w, padding=(0, 1, 1), stride=(1, 2, 1)), (2, 4, 2, 3, 2)),
        (lambda a, w: F.conv_transpose3d(a, w, stride=2), (4, 2, 2, 2, 2)),
        (lambda a, w: F.avg_pool3d(a, (1, 2, 2), 1), (1,)),
        (lambda a, w: a.mean((3, 4)), (1,)),
        (lambda a, w: a + F.conv3d(a, w, padding=1), (4, 4, 3, 3, 3)),
        (lambda a, w: torch.cat([a.mean(2), F.conv3d(a, w)[:, :, 0]], dim=1), (4, 4, 2, 1, 1)),
    ],
    ids=["convolution", "transposed", "pooling", "mean", "residual sum", "join"],
)
def test_equals_the_twin_of_matrices(function, kernel):
    model, x = Between(function, kernel).double(), clip(2)
    model(x)
    lively(model)
    with torch.no_grad():
        maps = model.conv(x).relu()
        columns = [
            function(row.reshape(maps.shape), model.kernel).flatten() for row in torch.eye(maps.numel()).double()
        ]
        start = torch.tensor([0.0, 1, 0], dtype=torch.float64)
        p = step(start, function(maps, model.kernel).relu().flatten(), model.out.weight)
        expected = step(p, maps.flatten(), torch.stack(columns, dim=1))
    found = maps_of(ExcitationBackprop(layer="act"), model, x)
    torch.testing.assert_close(found.raw[0], expected.reshape(maps.shape)[0].transpose(0, 1))
    assert found.raw.sum().item() == pytest.approx(1)


class OverTime(nn.Module):
    """A convolution frame by frame, a recurrent layer, dense."""

    def __init__(self, rnn):
        super().__init__()
        self.conv, self.rnn, self.out = nn.Conv2d(3, 4, 1), rnn, nn.Linear(5, 3)

    def features(self, x):
        maps = self.conv(rearrange(x, "n c t h w -> (n t) c h w")).relu()
        return maps, rearrange(maps.mean((2, 3)), "(n t) f -> n t f", n=len(x))

    def forward(self, x):
        return self.out(self.rnn(self.features(x)[1])[0][:, -1])


def test_a_recurrent_layer_of_relu_states_equals_its_twin_in_time():
    """The original form of EB-R: W x + U h is one linear operation of the frame and the state before."""
    model, x = OverTime(nn.RNN(4, 5, batch_first=True, nonlinearity="relu")).double(), clip(4)
    with torch.no_grad():
        model.rnn.weight_hh_l0.abs_()
        maps, features = model.features(x)
        states = [torch.zeros(5, dtype=torch.float64), *model.rnn(features)[0][0]]
        joint = torch.cat([model.rnn.weight_ih_l0, model.rnn.weight_hh_l0], dim=1)
        p = step(torch.tensor([0.0, 1, 0], dtype=torch.float64), states[-1], model.out.weight)
        expected = []
        for t in reversed(range(4)):
            shared = step(p, torch.cat([features[0, t], states[t]]), joint).nan_to_num(0)
            expected.insert(0, maps[t] / maps[t].sum((1, 2), keepdim=True) * shared[:4, None, None])
            p = shared[4:]
    found = maps_of(EB, model, x)
    torch.testing.assert_close(found.raw[0], torch.stack(expected).nan_to_num(0))
    assert (found.values[0].sum((1, 2)) > 0).all()  # every frame has a part
    assert not found.certificate.flags


@pytest.mark.parametrize("rnn", [nn.GRU, nn.LSTM, nn.RNN])
def test_signed_states_count_by_their_positive_part_and_are_flagged(rnn):
    model, x = OverTime(rnn(4, 5, 2, batch_first=True)), clip(4)
    found = maps_of(EB, model, x)
    assert (found.raw >= 0).all()
    assert found.raw.sum().item() + found.extra["mass"].causes["rule"] == pytest.approx(1)
    assert "signed" in found.certificate.flags[-1]


@pytest.mark.parametrize("key", [key for key in CLIP_MODELS if "transformer" not in key and key != "divided attention"])
def test_what_reaches_the_layer_and_what_is_lost_is_all_there_is(key):
    model, x = made(CLIP_MODELS[key]), torch.rand(2, 3, 5, 14, 12)
    for explainer, least in ((EB, 0.0), (CEB, -torch.inf)):
        found = explainer.attribute(model, x, Logit(1), certify=False)
        assert (found.raw >= least).all()
        assert (found.gap.abs() < 1e-3).all()
    torch.testing.assert_close(found.values[:1], CEB.attribute(model, x[:1], Logit(1), certify=False).values)


def test_two_classifiers_that_are_summed_both_start():
    """Probability is shared at the sum as the score has it: half each."""

    class Two(Head):
        def __init__(self):
            super().__init__(24)
            self.other = nn.Linear(6, 3)

        def forward(self, x):
            hidden = self.one(self.maps(x).flatten(1)).relu()
            return self.two(hidden) + self.other(hidden)

    model, x = lively(Two()), clip()
    a = model.maps(x).flatten()
    hidden, start = model.one(a).relu(), torch.tensor([0, 0.5, 0], dtype=torch.float64)
    p = step(start, hidden, model.two.weight) + step(start, hidden, model.other.weight)
    torch.testing.assert_close(maps_of(EB, model, x).raw.flatten(), step(p, a, model.one.weight).detach())


def test_the_last_convolution_is_taken_with_its_residual_sum():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv3d(4, 4, 3, padding=1), nn.BatchNorm3d(4)

        def forward(self, x):
            return (x + self.norm(self.conv(x))).relu()

    parts = [nn.Conv3d(3, 4, 1), nn.ReLU(), Block(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)]
    model, x = nn.Sequential(*parts).eval(), torch.rand(1, 3, 2, 6, 5)
    found = EB.attribute(model, x, Logit(0), certify=False)
    assert found.layer == "2.conv+"
    torch.testing.assert_close(found.values, ExcitationBackprop(layer="2")(model, x, Logit(0)))
    assert found.raw.sum().item() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ExplainError, match=r"that of 2\.norm is signed"):
        ExcitationBackprop(layer="2.norm")(model, x, Logit(0))


def test_costs_one_pass_each_way_and_one_to_compare_with():
    for model in (made(Folded), made(Volume)):
        for explainer in (EB, CEB):
            with counted_passes(model) as passes:
                explainer.attribute(model, torch.rand(2, 3, 5, 14, 12), Logit(0), certify=False)
            assert (passes.forwards, passes.gradients) == (4, 2)


@pytest.mark.parametrize("act", [nn.LeakyReLU, nn.Tanh])
def test_signed_features_are_refused(act):
    model = nn.Sequential(nn.Conv3d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 6), act(), nn.Linear(6, 3))
    with pytest.raises(ExplainError, match="never negative, as after a ReLU; 5 gets some"):
        EB(model, torch.rand(1, 3, 1, 3, 2), Logit(0))
    model = nn.Sequential(nn.Conv3d(3, 4, 1), act(), nn.Flatten(), nn.Linear(24, 3))
    with pytest.raises(ExplainError, match="never negative"):
        EB(model, torch.rand(1, 3, 1, 3, 2), Logit(0))


@pytest.mark.parametrize("score", [Contrast(), Probability(0)])
def test_scores_that_fall_with_an_output_are_refused(score):
    with pytest.raises(ExplainError, match="contrastive=True"):
        EB(made(Folded), torch.rand(1, 3, 5, 14, 12), score)


def test_autoencoders_and_transformers_are_refused_before_anything_is_computed():
    x = torch.rand(1, 3, 5, 14, 12)
    for build, score, whose in (
        (AUTOENCODERS["colour"], SquaredError(), "an autoencoder or predictor"),
        (CLIP_MODELS["transformer"], Logit(0), "attention"),
    ):
        model = made(build)
        with counted_passes(model) as passes, pytest.raises(ExplainError, match=f"{whose} are signed; take lrp"):
            EB(model, x, score)
        assert passes.forwards == 0


def test_as_released_an_lstm_gives_by_its_derivative_and_nothing_to_the_state():
    model, x = OverTime(nn.LSTM(4, 5, batch_first=True)).double(), clip(4)
    released = ExcitationBackprop(recurrent="as-released")
    with pytest.raises(ExplainError, match="states that are never negative"):
        released(model, x, Logit(1))
    with torch.no_grad():  # an LSTM whose states happen not to be negative
        model.rnn.weight_ih_l0.abs_()
        model.rnn.bias_ih_l0[10:15] += 3
    found = maps_of(released, model, x)
    maps, features = (part.detach() for part in model.features(x))
    with torch.no_grad():
        outputs = model.rnn(features)[0][0]
        p_h = step(torch.tensor([0.0, 1, 0], dtype=torch.float64), outputs[-1], model.out.weight)
        pre = features[0] @ model.rnn.weight_ih_l0.T + model.rnn.bias_ih_l0 + model.rnn.bias_hh_l0
        pre[1:] += outputs[:-1] @ model.rnn.weight_hh_l0.T
    pre.requires_grad_()
    c = torch.zeros(5, dtype=torch.float64)
    for i, f, g, o in (row.chunk(4) for row in pre):
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    (excitation,) = torch.autograd.grad(h, pre, p_h)
    p = torch.stack([step(excitation[t], features[0, t], model.rnn.weight_ih_l0.detach()) for t in range(4)])
    shares = maps / maps.sum((2, 3), keepdim=True)
    torch.testing.assert_close(found.raw[0], shares.nan_to_num(0) * (p / p.sum())[:, :, None, None])
    assert found.raw.sum().item() == pytest.approx(1)
    assert found.gap.item() == pytest.approx(0, abs=1e-9)


def test_as_released_refuses_what_it_does_not_define():
    x = clip(4)
    for rnn in (nn.GRU(4, 5, batch_first=True), nn.RNN(4, 5, batch_first=True)):
        with pytest.raises(ExplainError, match="is defined for an nn"):
            maps_of(ExcitationBackprop(recurrent="as-released"), OverTime(rnn), x)
    with pytest.raises(ExplainError, match="no lstm of packed sequences such as"):
        released_layers("lstm", x[0, :, :, 0, 0], torch.ones(4), torch.zeros(1, 1, 5), [torch.zeros(20, 3)])
    with pytest.raises(ExplainError, match="none was called"):
        ExcitationBackprop(recurrent="as-released")(made(Volume), torch.rand(1, 3, 5, 14, 12), Logit(0))
    with pytest.raises(SpecError, match="z-plus"):
        ExcitationBackprop(recurrent="as-released", contrastive=True)
    with pytest.raises(SpecError, match="recurrent must be"):
        ExcitationBackprop(recurrent="relu")
