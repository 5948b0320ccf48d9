"""The mode sees every operation: with ordinary gradients as its rules it must give a model's ordinary gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vidence.attribution.calls import GradientOn
from vidence.attribution.hooks import frozen
from vidence.attribution.relevance.deep_lift import DeepLIFT
from vidence.attribution.relevance.excitation import ExcitationBackprop
from vidence.attribution.relevance.lrp import LRP
from vidence.attribution.relevance.propagation import Propagation
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit, SquaredError
from zoo import AUTOENCODERS, CLIP_MODELS, Folded, made


class Ordinary(Propagation):
    """Ordinary gradients as rules; it writes down what it was asked."""

    method = "ordinary"

    def __init__(self, model):
        super().__init__(model)
        self.asked = []

    def linear(self, call):
        self.asked.append(("linear", call.name, call.layer))
        return call.value()

    def elementwise(self, call):
        self.asked.append(("elementwise", call.name, call.layer))
        return call.function(call.v)

    def product(self, call):
        self.asked.append(("product", call.name, call.layer))
        return call.function(call.a, call.b)

    def extremum(self, call):
        self.asked.append(("extremum", call.name, call.layer))
        return call.function(call.a)


class Of(nn.Module):
    """A model out of one function of a tensor, and the layers it uses."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def gradient_of(model, x, value, mode):
    asked = x.clone().requires_grad_()
    with frozen(model), mode:
        total = value(model(asked), asked).sum()
        total = mode.now(total) if isinstance(mode, Propagation) else total
    return total.detach(), torch.autograd.grad(total, asked)[0]


def weighed(output, x):
    return output.flatten() * torch.arange(output.numel(), dtype=output.dtype).cos()


def assert_ordinary(model, x, value=weighed, tolerance=1e-9):
    expected, slope = gradient_of(model, x, value, GradientOn())
    mode = Ordinary(model)
    total, found = gradient_of(model, x, value, mode)
    torch.testing.assert_close(total, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found, slope, rtol=tolerance, atol=tolerance * float(slope.abs().max()))
    return mode.asked


@pytest.mark.parametrize("build", CLIP_MODELS.values(), ids=CLIP_MODELS)
def test_models_of_every_kind(build):
    assert_ordinary(made(build).double(), torch.rand(1, 3, 5, 14, 12).double(), Logit(1))


@pytest.mark.parametrize("build", AUTOENCODERS.values(), ids=AUTOENCODERS)
def test_autoencoders(build):
    assert_ordinary(made(build).double(), torch.rand(1, 3, 5, 14, 12).double(), SquaredError(frame=4))


def attended(model, x):
    return model.layer(x, x, x, need_weights=model.need, key_padding_mask=model.padding)[0]


def masked(model, x):
    return F.scaled_dot_product_attention(x, x.flip(1), x * 2, is_causal=True)


FUNCTIONS = {
    "softmax": lambda model, x: x.softmax(dim=1) * x,
    "log_softmax": lambda model, x: F.log_softmax(x, dim=-1).square(),
    "logsumexp": lambda model, x: torch.logsumexp(x, dim=(1, 2)),
    "quotient": lambda model, x: x / (1 + x.abs()) - 2 / (x.square() + 1) + (3 - x),
    "power": lambda model, x: 2**x + x**3,
    "norms": lambda model, x: F.normalize(x, dim=1) + x.norm(dim=2, keepdim=True) + x.std(dim=1, keepdim=True),
    "similar": lambda model, x: F.cosine_similarity(x, x.flip(1), dim=2),
    "losses": lambda model, x: F.mse_loss(x, x.flip(0)) + F.l1_loss(x, x.roll(1, 1), reduction="sum"),
    "larger": lambda model, x: torch.maximum(x, x.flip(1)) + x.clamp(min=0.2) + torch.minimum(x, x.mean()),
    "picked": lambda model, x: x.max(dim=1).values + x.topk(2, dim=1).values.sum(1) + x.amax(),
    "einsum": lambda model, x: torch.einsum("nij,nkj->nik", x, x.cos()) @ torch.ones(4, 2).double(),
    "added product": lambda model, x: torch.baddbmm(x @ x.mT, x, x.mT, beta=0.5, alpha=2),
    "gated": lambda model, x: F.glu(torch.cat([x, x * 3], dim=2)),
    "padded": lambda model, x: F.pad(x, (1, 1), value=2.0).square(),
    "dynamic weights": lambda model, x: F.linear(x[0], x[0, :, :].tanh(), x[0, 0, :1].sum().expand(4)),
    "masked attention": masked,
    "keyword": lambda model, x: torch.softmax(input=x, dim=1) * torch.relu(input=x),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions(function):
    torch.manual_seed(0)
    assert_ordinary(Of(function), torch.randn(2, 4, 4).double())


LAYERS = {
    "gru": nn.GRU(6, 5, 2, bidirectional=True, batch_first=True),
    "lstm": nn.LSTM(6, 5, 2, bidirectional=True),
    "projected lstm": nn.LSTM(6, 5, proj_size=3, batch_first=True, bias=False),
    "relu rnn": nn.RNN(6, 5, nonlinearity="relu"),
    "batch norm": nn.Sequential(nn.Linear(6, 3), nn.Flatten(1), nn.Unflatten(1, (4, 3)), nn.BatchNorm1d(4)),
    "group norm": nn.GroupNorm(2, 4),
    "instance norm": nn.InstanceNorm1d(4, affine=True),
    "layer norm": nn.LayerNorm(6),
    "encoder": nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, activation="gelu"),
    "first norm": nn.TransformerEncoderLayer(6, 3, 8, norm_first=True),
    "pools": nn.Sequential(nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(2), nn.AdaptiveMaxPool1d(1), nn.Softplus()),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layers(layer):
    torch.manual_seed(0)
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    held = layer.double().eval()

    def run(model, x):
        out = model.layer(x)
        return (
            out if isinstance(out, torch.Tensor) else torch.cat([part.flatten() for part in (out[0], *_flat(out[1]))])
        )

    assert_ordinary(Of(run, layer=held), torch.randn(3, 4, 6).double())


def _flat(state):
    return [state] if isinstance(state, torch.Tensor) else list(state)


def written(x):
    y = x * 1
    y += x
    y[:, 1] = y[:, 0] * 2
    y.mul_(x).relu_()
    y[0, 0] = 3.0
    frames = torch.zeros(2, *x.shape[1:], dtype=x.dtype)
    for place in range(len(x)):
        frames[place].copy_(y[place]).tanh_()
    y.zero_()
    return F.leaky_relu(frames, 0.1, inplace=True).square() + y


def written_anew(x):
    y = 2 * x
    y = torch.stack([y[:, 0], y[:, 0] * 2, *y[:, 2:].unbind(1)], dim=1)
    y = (y * x).relu()
    rows = y.flatten(0, 1)
    y = torch.cat([torch.full_like(rows[:1], 3.0), rows[1:]]).view_as(y)
    return F.leaky_relu(y.tanh(), 0.1).square()


def through_views(x):
    y = x * 1
    left, right = y[:, :, :2], y[:, :, 2:]
    left.sigmoid_()
    row = right[:, 0]
    right += left
    row.mul_(5.0)
    y.add_(1)
    return torch.cat([left * 2, right, y], dim=2).square() * row.sum()


def through_views_anew(x):
    left, right = x[:, :, :2].sigmoid(), x[:, :, 2:]
    right = right + left
    right = torch.cat([right[:, :1] * 5, right[:, 1:]], dim=1) + 1
    left = left + 1
    return torch.cat([left * 2, right, left, right], dim=2).square() * right[:, 0].sum()


@pytest.mark.parametrize(("function", "anew"), [(written, written_anew), (through_views, through_views_anew)])
def test_what_is_written_in_place_is_seen_by_all_who_look(function, anew):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 4).double()
    expected = gradient_of(Of(lambda model, x: anew(x)), x, weighed, GradientOn())
    found = gradient_of(Of(lambda model, x: function(x)), x, weighed, Ordinary(nn.Module()))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", [nn.GRUCell, nn.LSTMCell, nn.RNNCell])
def test_cells(kind):
    def run(model, x):
        state = None
        for frame in x:
            state = model.cell(frame, state)
        return _flat(state)[0]

    assert_ordinary(Of(run, cell=kind(6, 5).double()), torch.randn(3, 4, 6).double())


@pytest.mark.parametrize("need", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_attention_between_places(need, padded):
    model = Of(attended, layer=nn.MultiheadAttention(6, 2, batch_first=True).double())
    model.need, model.padding = need, torch.tensor([[False, False, True]] * 2) if padded else None
    assert_ordinary(model, torch.randn(2, 3, 6).double())


def test_convolutions_transposed_and_with_groups_take_their_batch_norm():
    torch.manual_seed(0)
    for conv in (nn.Conv1d(4, 6, 2, groups=2), nn.ConvTranspose1d(4, 6, 2), nn.ConvTranspose1d(4, 6, 2, groups=2)):
        norm = nn.BatchNorm1d(6)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        model = nn.Sequential(conv, norm).double().eval()
        asked = assert_ordinary(model, torch.randn(2, 4, 5).double())
        merged = not (isinstance(conv, nn.ConvTranspose1d) and conv.groups > 1)
        assert len([kind for kind, *_ in asked if kind == "linear"]) == 1 + merged


def test_what_has_no_rule_is_refused_by_name_after_the_layer_before_it():
    model = Of(lambda model, x: torch.fft.fft(model.first(x)).real, first=nn.Linear(4, 4))
    with pytest.raises(ExplainError, match=r"ordinary has no rule for torch.fft.fft, called after first"):
        gradient_of(model, torch.rand(2, 4), lambda output, x: output, Ordinary(model))


class Packed(Folded):
    """Frames packed as sequences of `length` frames, all as long as each other."""

    def __init__(self, rnn=nn.LSTM, length=6, **settings):
        super().__init__(rnn, **settings)
        self.length = length

    def forward(self, x):
        lengths = torch.full((len(x),), self.length)
        packed = pack_padded_sequence(self.features(x), lengths, batch_first=True, enforce_sorted=False)
        return self.out(pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=6)[0][:, -1])


@pytest.mark.parametrize("build", [Packed, lambda: Packed(nn.GRU, 4, bidirectional=True), lambda: Packed(nn.RNN)])
def test_packed_sequences_of_one_length_are_followed(build):
    torch.manual_seed(0)
    assert_ordinary(build().eval().double(), torch.rand(2, 3, 6, 14, 12, dtype=torch.float64), Logit(1))


@pytest.mark.parametrize("explainer", [LRP(), DeepLIFT(), ExcitationBackprop()])
def test_packing_frames_changes_no_map(explainer):
    x, models = torch.rand(1, 3, 6, 14, 12), []
    for build in (Packed, Folded):
        torch.manual_seed(0)
        models.append(build(nn.LSTM).eval())
    packed, plain = (explainer.attribute(model, x, Logit(1), certify=False).values for model in models)
    assert plain.any()
    torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-6 * float(plain.abs().max()))


def test_packed_sequences_of_several_lengths_are_refused():
    def run(model, x):
        packed = pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
        return model.rnn(packed)[1]

    model = Of(run, rnn=nn.GRU(4, 3, batch_first=True))
    with pytest.raises(ExplainError, match="ordinary has no rule for"):
        gradient_of(model, torch.rand(2, 3, 4), lambda output, x: output, Ordinary(model))


def test_batch_statistics_are_refused():
    model = nn.Sequential(nn.Conv1d(4, 4, 1), nn.BatchNorm1d(4, track_running_stats=False)).eval()
    with pytest.raises(ExplainError, match="running statistics"):
        gradient_of(model, torch.rand(2, 4, 5), lambda output, x: output, Ordinary(model))


def test_values_for_python_and_comparisons_pass():
    def run(model, x):
        if x.sum() > 0 and x.max().item() > 0 and len(x) == 2:
            return x[x.argmax(dim=0)[0]] * float(x.mean())
        return x

    expected = Of(run)(torch.ones(2, 3, 3))
    total, found = gradient_of(Of(run), torch.ones(2, 3, 3), lambda output, x: output, Ordinary(Of(run)))
    assert total == expected.sum()
    assert found.sum() == 27
