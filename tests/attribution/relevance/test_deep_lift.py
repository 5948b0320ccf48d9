"""DeepLIFT against its definition: sums, closed forms, captum on feed-forward nets, and where captum is wrong."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift
from einops import rearrange
from torch import nn

from vidence.attribution.path import baseline_of
from vidence.attribution.relevance.deep_lift import DeepLIFT
from vidence.attribution.relevance.differences import rescaled, won
from vidence.errors import ExplainError, SpecError
from vidence.models.conv_recurrent import ConvGRU, ConvLSTM, ConvRNN, Geometry
from vidence.models.reconstruction import Reconstruction
from vidence.scoring.scores import Logit, Probability, SquaredError
from vidence.testing import counted_passes
from zoo import AUTOENCODERS, CLIP_MODELS, Autoencoder, Folded, Looped, made

BLACK = DeepLIFT(baseline="black")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Of(nn.Module):
    """A model out of one function of a clip's values, and the layers it uses."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def clip(*shape, n=1):
    return torch.rand(n, *shape, dtype=torch.float64)


def of_baseline(model, x, baseline, score):
    """s(x) - s(x'), from two plain passes."""
    model = model.eval()
    with torch.no_grad():
        output = model(x)
        score = score.pin(output, x) if hasattr(score, "pin") else score
        start = baseline_of(x, baseline, output)
        return score(output, x) - score(model(start), start)


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_a_relu_network_by_hand():
    """A6 of check_methods.py: m = W1' (W2 d relu / d z)."""
    one, two = nn.Linear(12, 20).double(), nn.Linear(20, 1, bias=False).double()
    model = nn.Sequential(nn.Flatten(), one, nn.ReLU(), two)
    x, start = clip(3, 1, 2, 2), 0.4
    z, z0 = one(x.flatten()), one(torch.full((12,), start, dtype=torch.float64))
    m = (z.relu() - z0.relu()) / (z - z0)
    expected = ((x.flatten() - start) * (one.weight.T @ (two.weight[0] * m))).reshape(x.shape)
    found = DeepLIFT(baseline=start).attribute(model, x, Logit(0), certify=False)
    torch.testing.assert_close(found.raw, expected.detach())
    torch.testing.assert_close(found.raw.sum(), (two(z.relu()) - two(z0.relu())).sum().detach())
    torch.testing.assert_close(found.values, expected.detach().sum(1).float())


def test_a_product_shares_by_halves():
    """A6b: (b + b') / 2 for a, (a + a') / 2 for b; a square is r + r'."""
    model = Of(lambda self, x: (x[:, 0] * x[:, 1] + x[:, 2].square()).flatten(1).sum(1, keepdim=True))
    x = clip(3, 2, 2, 2)
    start = x.mean(dim=(2, 3, 4), keepdim=True).expand_as(x)
    found = DeepLIFT(baseline="mean").attribute(model, x, Logit(0), certify=False).raw
    mean = (x + start) / 2
    factors = torch.stack([mean[:, 1], mean[:, 0], 2 * mean[:, 2]], dim=1)
    torch.testing.assert_close(found, factors * (x - start))


def test_a_linear_model_gives_weight_times_change():
    conv, out = nn.Conv3d(3, 2, 2).double(), nn.Linear(2, 3).double()
    model = Of(lambda self, x: out(conv(x).mean((2, 3, 4))))
    x = clip(3, 4, 5, 5)
    asked = x.clone().requires_grad_()
    (weight,) = torch.autograd.grad(model(asked)[0, 1], asked)
    found = DeepLIFT(baseline="median").attribute(model, x, Logit(1), certify=False).raw
    torch.testing.assert_close(found, weight * (x - baseline_of(x, "median", None)))


def test_is_gradient_x_input_where_no_unit_changes_sign():
    model = nn.Sequential(
        nn.Conv3d(3, 4, 3, bias=False), nn.ReLU(), nn.MaxPool3d((1, 2, 2)), nn.Flatten(), nn.Linear(8, 2, bias=False)
    ).double()
    x = clip(3, 3, 6, 4)
    asked = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(asked)[0, 1], asked)
    torch.testing.assert_close(BLACK.attribute(model, x, Logit(1), certify=False).raw, x * gradient)


# --- the rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [torch.relu, torch.tanh, torch.sigmoid, torch.exp, torch.square, F.leaky_relu])
def test_rescale_is_a_quotient_however_small_the_change(function):
    v = torch.randn(2000)
    for size in (3.0, 1e-2, 1e-4, 1e-6, 1e-8, 0.0):
        before = v + size * torch.randn(2000)
        change = (function(v.double()) - function(before.double())) / (v.double() - before.double())
        found = rescaled(function, v, before)
        assert found.isfinite().all()
        known = change.isfinite()
        torch.testing.assert_close(
            found[known].double(), change[known], atol=2e-5 if size > 1e-3 else 2e-2, rtol=1e-4 if size > 1e-3 else 2e-2
        )


def test_rescale_at_infinity_and_at_a_slope_without_end():
    v = torch.tensor([-torch.inf, -torch.inf, 1.0])
    assert rescaled(torch.exp, v, torch.tensor([-torch.inf, -torch.inf, 1.0])).tolist()[:2] == [0, 0]
    assert rescaled(torch.sqrt, torch.tensor([4.0]), torch.tensor([0.0])).item() == pytest.approx(0.5)
    assert rescaled(torch.sqrt, torch.tensor([0.0]), torch.tensor([0.0])).item() == 0


@pytest.mark.parametrize(
    "function",
    [
        lambda a: F.max_pool2d(a, 3, 2, 1),
        lambda a: F.max_pool2d(a, (2, 3)),
        lambda a: F.adaptive_max_pool2d(a, 2),
        lambda a: a.amax((2, 3)),
        lambda a: a.amin(3),
        lambda a: a.max(dim=2).values,
        lambda a: a.max(),
        lambda a: a.topk(3, dim=3).values,
        lambda a: a.sort(dim=3).values,
        lambda a: a.median(dim=3).values,
        lambda a: a.cummax(dim=3).values,
        lambda a: F.max_pool1d(a[0], 2),
        lambda a: F.max_pool3d(a, (1, 2, 2)),
    ],
)
def test_what_is_picked_changes_by_what_is_given(function):
    a, before = torch.randn(2, 2, 3, 6, 7, dtype=torch.float64)
    given = torch.randn_like(function(a))
    found = won(function, a, before, given)
    torch.testing.assert_close((found * (a - before)).sum(), (given * (function(a) - function(before))).sum())
    torch.testing.assert_close(won(function, a, a, given), _gradient(function, a, given))


def test_a_maximum_is_given_to_who_moved_at_least_as_much():
    a, before = torch.randn(2, 500, 4, dtype=torch.float64)
    found = won(lambda v: v.amax(1), a, before, torch.ones(500, dtype=torch.float64))
    assert ((found != 0).sum(1) == 1).all()
    assert (found >= 0).all()
    assert (found <= 1).all()


def _gradient(function, a, given):
    asked = a.clone().requires_grad_()
    return torch.autograd.grad(function(asked), asked, given)[0]


# --- captum -----------------------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """Captum's terms: each module once, no function but what it knows."""

    def __init__(self, dims, act=nn.ReLU, pool=True):
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        pooled = (nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)) if pool else nn.Identity()
        self.one, self.two = conv(3, 4, 3, padding=1), conv(4, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5) if dims == 2 else nn.BatchNorm3d(5)
        self.act1, self.act2, self.act3, self.pool = act(), act(), act(), pooled
        self.flat, self.dense, self.out = nn.Flatten(), nn.LazyLinear(7), nn.Linear(7, 3)
        self.dims = dims

    def forward(self, x):
        x = x[:, :, 0] if self.dims == 2 else x
        maps = self.pool(self.act1(self.one(x)))
        return self.out(self.act3(self.dense(self.flat(self.act2(self.norm(self.two(maps)))))))


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize(
    ("dims", "act", "pool"),
    [(2, nn.ReLU, True), (2, nn.LeakyReLU, False), (3, nn.ReLU, True), (3, nn.Tanh, False), (2, nn.Sigmoid, True)],
)
def test_equals_captum_on_feed_forward_networks(dims, act, pool):
    model, x = Plain(dims, act, pool).double(), clip(3, 1 if dims == 2 else 4, 8, 6, n=1)
    model(x)
    model.eval()
    baseline = "black" if pool else "mean"  # captum's sum is not the change at every maximum: next test
    start = baseline_of(x[:1], baseline, None).expand_as(x).contiguous()
    theirs = DeepLift(model).attribute(x.clone().requires_grad_(), start, target=1).detach()
    torch.testing.assert_close(theirs.sum((1, 2, 3, 4)), (model(x) - model(start))[:, 1].detach())
    ours = DeepLIFT(baseline=baseline).attribute(model, x, Logit(1), certify=False)
    torch.testing.assert_close(ours.raw, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_captum_loses_part_of_the_change_where_a_maximum_follows_a_relu():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 1)).double()
    x, start = torch.rand(2, 1, 3, 8, 6, dtype=torch.float64)
    change = (model(x) - model(start)).item()
    theirs = DeepLift(model).attribute(x.clone().requires_grad_(), start, target=0)
    assert abs(theirs.sum().item() - change) > 0.05 * abs(change)
    wrapped, given = Of(lambda self, x: self.inner(x[:, :, 0]), inner=model), start.mean().item()
    found = DeepLIFT(baseline=given).attribute(wrapped, x[:, :, None], Logit(0), certify=False)
    assert found.certificate.gap < 1e-9


class Saturated(nn.Module):
    """A recurrent classifier whose weights have grown, as training grows them: gates are open or shut."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn, self.out = rnn(12, 16, batch_first=True), nn.Linear(16, 2)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=1.5)

    def forward(self, x):
        return self.out(self.rnn(rearrange(x, "n c t h w -> n t (c h w)"))[0][:, -1])


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("rnn", [nn.GRU, nn.LSTM])
def test_captum_misses_most_of_the_change_through_gates_and_says_nothing(rnn):
    missed, ours = [], []
    for _ in range(5):
        model, x = Saturated(rnn).eval(), torch.rand(1, 3, 6, 2, 2)
        theirs = DeepLift(model).attribute(x.clone().requires_grad_(), torch.zeros_like(x), target=1)  # no exception
        change = of_baseline(model, x, "black", Logit(1)).item()
        missed.append(abs(change - theirs.sum().item()) / abs(change))
        ours.append(BLACK.attribute(model, x, Logit(1), certify=False).certificate.gap)
    assert sorted(missed)[2] > 0.5
    assert max(ours) < 1e-3


# --- completeness -----------------------------------------------------------------------------------------------------


def check_complete(model, x, score, baselines=("auto", "black")):
    for baseline in baselines:
        expected = of_baseline(model, x, baseline, score)
        found = DeepLIFT(baseline=baseline).attribute(model, x, score, certify=False)
        torch.testing.assert_close(found.extra["effect"], expected)
        torch.testing.assert_close(found.raw.sum((1, 2, 3, 4)), expected, rtol=1e-9, atol=1e-12)
        assert found.certificate.gap < 1e-8
        assert not found.certificate.flags


@pytest.mark.parametrize("key", [key for key in CLIP_MODELS if key != "adapted"])
def test_complete_on_classifiers_in_double(key):
    check_complete(made(CLIP_MODELS[key]).double(), clip(3, 5, 14, 12), Logit(0))


@pytest.mark.parametrize("rnn", [nn.GRU, nn.LSTM, nn.RNN])
def test_complete_on_recurrent_classifiers_in_single(rnn):
    model = Saturated(rnn)
    for score in (Logit(0), Probability(1)):
        found = DeepLIFT(baseline="black").attribute(model, torch.rand(2, 3, 6, 2, 2), score, certify=False)
        assert (found.gap.abs() <= 1e-5 * (1 + found.extra["effect"].abs())).all()


def test_complete_on_a_bidirectional_stack_and_its_logsumexp():
    rnn, out = nn.GRU(12, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 3)
    model = Of(lambda self, x: out(rnn(rearrange(x, "n c t h w -> n t (c h w)"))[0]).logsumexp(1), rnn=rnn, out=out)
    check_complete(model.double(), clip(3, 4, 2, 2), Probability(2))


@pytest.mark.parametrize("cell", [ConvRNN, ConvLSTM, ConvGRU])
def test_complete_through_convolutional_cells(cell):
    made_ = cell(Geometry(3, 4))

    def run(self, x):
        wx = self.cell.project(rearrange(x, "n c t h w -> (t n) c h w"))
        state = None
        for frame in wx.chunk(x.shape[2]):
            state = self.cell.step(frame, state)
        return self.cell.output(state[0]).mean((2, 3))

    check_complete(Of(run, cell=made_).double(), clip(3, 4, 7, 6), Logit(2))


@pytest.mark.parametrize("key", AUTOENCODERS)
@pytest.mark.parametrize("mode", ["live", "fixed"])
def test_complete_on_squared_errors(key, mode):
    check_complete(made(AUTOENCODERS[key]).double(), clip(3, 5, 14, 12), SquaredError(mode=mode))


def test_an_error_in_live_mode_moves_its_target_with_the_clip():
    """f = x / 2: the error is (x / 2)^2, its multiplier (x + x') / 4; held at the clip it is another score."""

    class Half(nn.Module):
        def forward(self, x):
            return Reconstruction(x / 2)

    x = clip(3, 3, 2, 2)
    live = BLACK.attribute(Half(), x, SquaredError(mode="live"), certify=False)
    torch.testing.assert_close(live.raw, x.square() / 4 * (live.raw.sum() / (x.square() / 4).sum()))
    fixed = BLACK.attribute(Half(), x, SquaredError(mode="fixed"), certify=False)
    assert (fixed.raw < 0).all()
    assert (live.raw > 0).all()


# --- what it asks of a model, and what it costs -----------------------------------------------------------------------


def test_costs_three_passes_and_one_way_back():
    for model, score in ((made(Folded), Logit(0)), (made(Autoencoder), SquaredError())):
        with counted_passes(model) as passes:
            BLACK.attribute(model, torch.rand(2, 3, 5, 14, 12), score, certify=False)
        price = BLACK.price(5, 14, 12)
        assert (passes.forwards, passes.gradients) == (2 * price.forwards, 2 * price.gradients)


def test_a_loop_and_a_folded_batch_agree():
    loop, folded = made(Looped), made(Folded)
    folded.load_state_dict(loop.state_dict())
    x = torch.rand(1, 3, 5, 14, 12)
    torch.testing.assert_close(BLACK(loop, x, Logit(0)), BLACK(folded, x, Logit(0)), atol=1e-5, rtol=1e-4)


def test_another_control_flow_on_the_baseline_is_refused():
    conv = nn.Conv3d(3, 2, 1)

    def bright(self, x):
        maps = self.conv(x)
        return (maps.relu() if x.mean() > 0.2 else maps.square()).mean((2, 3, 4))

    def longer(self, x):
        maps = self.conv(x).mean((2, 3, 4))
        return maps.relu() if x.mean() > 0.2 else maps

    def shorter(self, x):
        maps = self.conv(x).mean((2, 3, 4))
        return maps if x.mean() > 0.2 else maps.relu()

    x = torch.rand(1, 3, 3, 4, 4)
    for function in (bright, longer, shorter):
        with pytest.raises(ExplainError, match="the same to the clip and to its baseline"):
            BLACK(Of(function, conv=conv), x, Logit(0))
        assert DeepLIFT(baseline="mean").attribute(Of(function, conv=conv), x, Logit(0)).certificate.gap < 1e-3


def test_a_mask_made_by_a_comparison_is_flagged():
    """Where(x > 1/2, 3 x, x) jumps: no multiplier of x says that the mask changed."""
    model = Of(lambda self, x: torch.where(x > 0.5, 3 * x, x).mean((2, 3, 4)))
    found = BLACK.attribute(model, torch.full((1, 3, 2, 4, 4), 0.7), Logit(0), certify=False)
    assert not found.certificate.flags  # 3 x - 0 is what 3 (x - 0) gives
    found = DeepLIFT(baseline=0.4).attribute(model, torch.full((1, 3, 2, 4, 4), 0.7), Logit(0), certify=False)
    assert found.certificate.gap == pytest.approx(0.8 / 1.7, abs=1e-3)
    assert any("miss 47.1%" in flag for flag in found.certificate.flags)


def test_a_clip_that_is_its_baseline_says_so():
    x = torch.full((1, 3, 5, 14, 12), 0.3)
    found = DeepLIFT(baseline="median").attribute(made(Folded), x, Logit(0), certify=False)
    assert not found.values.any()
    assert "equals its baseline" in found.certificate.flags[0]
    still = x + torch.rand(1, 3, 1, 14, 12)
    other = DeepLIFT().attribute(made(Folded), still, Logit(0), certify=False)
    assert other.extra["baseline"] == "mean"
    assert "its baseline is its mean colour instead" in other.certificate.flags[0]
    assert other.values.any()


def test_an_unknown_baseline_is_refused():
    with pytest.raises(SpecError, match="baseline"):
        DeepLIFT(baseline="grey")


def test_an_operation_without_a_rule_is_refused_by_name():
    model = Of(lambda self, x: torch.fft.rfft(self.conv(x).mean((3, 4))).abs()[:, :, 0], conv=nn.Conv3d(3, 2, 1))
    with pytest.raises(ExplainError, match=r"deep-lift has no rule for torch\.fft.*conv"):
        BLACK(model, torch.rand(1, 3, 3, 4, 4), Logit(0))
