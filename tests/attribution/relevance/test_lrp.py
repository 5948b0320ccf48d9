"""LRP against closed forms, slow recursions and its own books."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vidence.attribution.relevance.composites import CompositeName
from vidence.attribution.relevance.lrp import LRP
from vidence.errors import ExplainError, SpecError
from vidence.models.conv_recurrent import CELLS, Geometry, Recurrent
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.models.soft_attention import InputAttention, SoftmaxAttention, SqueezeExcitation
from vidence.scoring.scores import Logit, Output, Probability, SquaredError
from zoo import AUTOENCODERS, CLIP_MODELS, Folded, made

COMPOSITES = get_args(CompositeName)
EXACT = LRP(composite="epsilon", epsilon=0.0)


class Of(nn.Module):
    """A model out of one function of a clip, and the layers it uses."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def explained(explainer, model, x, score=Logit(0)):  # noqa: B008
    return explainer.attribute(model, x, score, certify=False)


def clip(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()


def assert_balanced(found, tolerance=1e-9):
    """Every layer hands on what it received less what it names, and the layers' names leave no gap."""
    ledger = found.extra["ledger"]
    scale = max(abs(ledger.score), *(abs(row.received) for row in ledger.rows), 1e-12)
    assert abs(ledger.gap) <= tolerance * scale
    for row in ledger.rows:
        kept = row.absorbed - row.initial_states - row.constants
        assert row.received == pytest.approx(row.handed_on + kept, abs=tolerance * scale)
    assert float(found.raw.double().sum()) == pytest.approx(ledger.mapped)
    assert float(found.gap) == pytest.approx(ledger.gap)
    return ledger


def test_lrp_0_is_gradient_x_input_on_a_relu_net_without_biases():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1, bias=False), nn.ReLU(inplace=True), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(4, 5, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 2 * 9, 3, bias=False),
    ).double()  # fmt: skip
    x = clip(1, 3, 3, 8, 8).requires_grad_()
    slope = torch.autograd.grad(net(x)[0, 0], x)[0]
    found = explained(EXACT, net, x.detach())
    torch.testing.assert_close(found.raw, slope * x.detach())
    assert_balanced(found)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_follow_the_recursion_of_arras(kind, bias):
    torch.manual_seed(1)
    rnn, head = kind(3, 5, bias=bias, batch_first=True).double(), nn.Linear(5, 2, bias=False).double()
    model = Of(lambda m, x: m.head(m.rnn(x.mean((3, 4)).mT)[0][:, -1]), rnn=rnn, head=head)
    x = clip(1, 3, 6, 2, 2)
    features = x.mean((3, 4))[0].T
    expected = (lstm_relevance if kind is nn.LSTM else gru_relevance)(rnn, features, head.weight[0])
    found = explained(EXACT, model, x)
    torch.testing.assert_close(found.raw.sum((3, 4))[0].T, expected)
    ledger = assert_balanced(found)
    if not bias:
        assert ledger.mapped == pytest.approx(ledger.score, rel=1e-9)


def lstm_relevance(rnn, features, head):
    """Arras et al. with epsilon 0 and no bias factor, frame by frame."""
    w, u, size = rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.hidden_size
    b = rnn.bias_ih_l0 + rnn.bias_hh_l0 if rnn.bias else 0
    h = c = torch.zeros(size).double()
    states = []
    for frame in features:
        i, f, p, o = (w @ frame + u @ h + b).chunk(4)
        before, c = (h, c), f.sigmoid() * c + i.sigmoid() * p.tanh()
        h = o.sigmoid() * c.tanh()
        states.append((*before, i.sigmoid(), f.sigmoid(), p, c))
    r_h, r_c, found = h * head, torch.zeros(size).double(), torch.zeros_like(features)
    for t in reversed(range(len(features))):
        h, c_before, i, f, p, c = states[t]
        q = (r_c + r_h) / c
        share = i * p.tanh() * q / p
        r_c = f * c_before * q
        found[t] = features[t] * (w[2 * size : 3 * size].T @ share)
        r_h = h * (u[2 * size : 3 * size].T @ share)
    return found.detach()


def gru_relevance(rnn, features, head):
    """The same principle for PyTorch's GRU."""
    w, u, size = rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.hidden_size
    b_x, b_h = (rnn.bias_ih_l0, rnn.bias_hh_l0) if rnn.bias else (torch.zeros(3 * size),) * 2
    h = torch.zeros(size).double()
    states = []
    for frame in features:
        x_r, x_z, x_n = (w @ frame + b_x).chunk(3)
        h_r, h_z, h_n = (u @ h + b_h).chunk(3)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        p = x_n + r * h_n
        before, h = h, (1 - z) * p.tanh() + z * h
        states.append((before, r, z, p, h))
    r_h, found = h * head, torch.zeros_like(features)
    for t in reversed(range(len(features))):
        before, r, z, p, h = states[t]
        q = r_h / h
        share = (1 - z) * p.tanh() * q / p
        found[t] = features[t] * (w[2 * size :].T @ share)
        r_h = z * before * q + before * (u[2 * size :].T @ (r * share))
    return found.detach()


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("build", CLIP_MODELS.values(), ids=CLIP_MODELS)
def test_the_books_balance_on_models_of_every_kind(build, composite):
    model = made(build).double()
    found = explained(LRP(composite=composite), model, clip(1, 3, 5, 14, 12), Logit(1))
    ledger = assert_balanced(found, 1e-7)
    assert all(row.layer in str(ledger) for row in ledger.rows)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("mode", ["live", "fixed"])
@pytest.mark.parametrize("build", AUTOENCODERS.values(), ids=AUTOENCODERS)
def test_the_books_balance_on_autoencoders(build, mode, composite):
    found = explained(LRP(composite=composite), made(build).double(), clip(1, 3, 5, 14, 12), SquaredError(mode=mode))
    assert_balanced(found, 1e-7)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_convolutional_cells_without_biases_conserve(cell, transposed, composite):
    torch.manual_seed(2)
    layers = (CELLS[cell](Geometry(3, 6, 3, 1, transposed)) for _ in range(2))

    def run(model, x):
        maps, _ = model.layer(rearrange(x, "n c t h w -> (t n) c h w"), len(x))
        return model.out(rearrange(maps, "(t n) c h w -> n t h w c", n=len(x)).mean((1, 2, 3)))

    model = Of(run, layer=Recurrent(*layers), out=nn.Linear(6, 2, bias=False)).double()
    ledger = assert_balanced(explained(LRP(composite=composite), model, clip(1, 3, 4, 6, 6)), 1e-7)
    assert ledger.mapped == pytest.approx(ledger.score, rel=1e-4)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("composite", COMPOSITES)
def test_transposed_convolutions_conserve(dims, composite):
    torch.manual_seed(3)
    down, up = ((nn.Conv1d, nn.ConvTranspose1d), (nn.Conv2d, nn.ConvTranspose2d), (nn.Conv3d, nn.ConvTranspose3d))[
        dims - 1
    ]

    def run(model, x):
        maps = x if dims == 3 else rearrange(x, "n c t h w -> (n t) c h w") if dims == 2 else x.flatten(2)
        return model.up(model.down(maps).relu()).relu().flatten(1).sum(dim=1).reshape(1, -1).sum(1, keepdim=True)

    model = Of(run, down=down(3, 4, 2, 2, bias=False), up=up(4, 3, 3, 2, bias=False)).double()
    ledger = assert_balanced(explained(LRP(composite=composite), model, clip(1, 3, 4, 6, 6)), 1e-7)
    assert ledger.mapped == pytest.approx(ledger.score, rel=1e-4)


def test_bias_initial_state_and_constants_are_named_where_they_act():
    torch.manual_seed(4)
    rnn, start = nn.GRU(3, 4, batch_first=True).double(), torch.randn(1, 1, 4).double()
    model = Of(
        lambda m, x: m.out(m.rnn(x.mean((3, 4)).mT + 0.5, start)[0][:, -1]), rnn=rnn, out=nn.Linear(4, 1).double()
    )
    ledger = assert_balanced(explained(LRP(composite="epsilon"), model, clip(1, 3, 2, 2, 2)))
    assert ledger.causes["initial_states"] != 0
    assert ledger.causes["constants"] != 0
    rows = {row.layer: row for row in ledger.rows}
    assert rows["out"].bias == pytest.approx(model.out.bias[0].item(), rel=1e-4)


def test_a_linear_autoencoder_gets_what_integrated_gradients_give():
    """x * (I - P) x for an orthogonal projector: the direct part r x and the part through the network, -r x_hat."""
    basis = torch.linalg.qr(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)).double()).Q

    class Linear(ReconstructionNetwork):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(12, 4, bias=False), nn.Linear(4, 12, bias=False)

        def forward(self, x):
            return Reconstruction(self.decoder(self.encoder(x.flatten(1))).view_as(x))

    model = Linear().double()
    model.load_state_dict({"encoder.weight": basis.T.contiguous(), "decoder.weight": basis})
    x = clip(1, 1, 2, 2, 3)
    found = explained(EXACT, model, x, SquaredError())
    residual = x.flatten() - basis @ (basis.T @ x.flatten())
    torch.testing.assert_close(found.raw.flatten(), x.flatten() * residual)
    assert_balanced(found)


def test_the_box_reaches_pixels_through_the_normalisation_before_the_first_layer():
    torch.manual_seed(5)
    conv, head = nn.Conv2d(3, 4, 3, bias=False).double(), nn.Linear(4, 1, bias=False).double()
    mean, std = torch.tensor([0.4, 0.5, 0.6]).double(), torch.tensor([0.2, 0.3, 0.25]).double()

    def run(model, x):
        frames = (x[:, :, 0] - mean[:, None, None]) / std[:, None, None]
        return model.head(model.conv(frames).relu().mean((2, 3)))

    x = clip(1, 3, 1, 5, 5)
    x[:, :, :, 2] = 0.0  # black
    found = explained(LRP(epsilon=0.0), Of(run, conv=conv, head=head), x)
    m, s = mean[:, None, None], std[:, None, None]
    a, low, high = ((part[:, :, 0] - m) / s for part in (x, torch.zeros_like(x), torch.ones_like(x)))
    z = F.conv2d(a, conv.weight)
    r = z.relu() / z[0, 0].numel() * head.weight[0][:, None, None]
    expected = torch.zeros_like(a)
    for k, i, j in torch.cartesian_prod(*(torch.arange(size) for size in z.shape[1:])):
        w, here = conv.weight[k], (0, slice(None), slice(i, i + 3), slice(j, j + 3))
        q = a[here] * w - low[here] * w.clamp(min=0) - high[here] * w.clamp(max=0)
        expected[here] += q / q.sum() * r[0, k, i, j]
    torch.testing.assert_close(found.raw[:, :, 0], expected.detach())
    assert found.values[0, 0, 2].abs().min() > 0  # black counts
    assert_balanced(found)


class Attending(nn.Module):
    """Patches, one self-attention without biases, a mean."""

    def __init__(self):
        super().__init__()
        self.patch, self.out = nn.Conv3d(3, 8, (1, 4, 4), (1, 4, 4), bias=False), nn.Linear(8, 2, bias=False)
        self.attend = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).mT
        return self.out(self.attend(tokens, tokens, tokens)[0].mean(1))


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "epsilon-plus-w-square"])
def test_what_pixels_show_does_not_count_where_only_weights_do(composite):
    """One convolution: each output's relevance is shared over its view, evenly or by the squares of the weights."""
    torch.manual_seed(4)
    layer = nn.Conv3d(3, 2, (1, 2, 2), stride=(1, 2, 2), bias=False).double()
    layer.weight.data.abs_()
    model = Of(lambda m, x: m.layer(x).sum((2, 3, 4)), layer=layer)
    x = clip(1, 3, 2, 4, 4)
    x[0, 1, 0, 0, 0] = 0  # black counts, too
    weights = torch.ones_like(layer.weight[0]) if composite.endswith("flat") else layer.weight[0].detach().square()
    expected = torch.zeros_like(x)
    outputs = layer(x)[0, 0].detach()
    for t, i, j in torch.cartesian_prod(*map(torch.arange, outputs.shape)).tolist():
        expected[0, :, t : t + 1, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = outputs[t, i, j] * weights / weights.sum()
    found = explained(LRP(composite=composite), model, x)
    torch.testing.assert_close(found.raw, expected)
    assert_balanced(found)


def test_held_attention_conserves_and_lets_relevance_through_values_alone():
    torch.manual_seed(6)
    model, x = Attending().double(), clip(1, 3, 2, 8, 8)
    found = explained(EXACT, model, x)
    ledger = assert_balanced(found)
    assert ledger.mapped == pytest.approx(ledger.score, rel=1e-9)
    tokens = model.patch(x).flatten(2).mT
    _, weights = model.attend(tokens, tokens, tokens, average_attn_weights=False)
    value, out = model.attend.in_proj_weight[16:], model.attend.out_proj.weight
    v = (tokens @ value.T)[0].unflatten(1, (2, 4))  # (token, head, value)
    shares = weights[0].mean(1).T[:, :, None] * v * (model.out.weight[0] @ out).unflatten(0, (2, 4))
    torch.testing.assert_close(_patches(found.raw), shares.sum((1, 2)).detach())


def _patches(raw):
    return rearrange(raw, "1 c t (i p) (j q) -> (t i j) (c p q)", p=4, q=4).sum(1)


def test_attention_through_queries_and_keys_names_what_the_softmax_keeps():
    torch.manual_seed(7)
    model, x = Attending().double(), clip(1, 3, 2, 8, 8)
    held, through = (explained(LRP(composite="epsilon", attention=kind), model, x) for kind in ("cp", "attn"))
    ledger = assert_balanced(through)
    assert any(row.layer.startswith("softmax after attend") and row.rule for row in ledger.rows)
    assert not torch.allclose(held.raw, through.raw)


@pytest.mark.parametrize("attention", ["cp", "attn"])
def test_masks_of_attention_may_be_infinite(attention):
    def run(model, x):
        tokens = x.flatten(3).mean(3).mT
        return F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True).sum((1, 2))[:, None]

    found = explained(LRP(composite="epsilon", attention=attention), Of(run), clip(1, 3, 4, 2, 2))
    assert found.raw.isfinite().all()
    assert_balanced(found)


def test_gates_written_by_hand_get_nothing():
    torch.manual_seed(8)
    signal = nn.Conv2d(3, 16, 1, bias=False).double()
    gate = SqueezeExcitation(16).double()
    model = Of(lambda m, x: m.gate(m.signal(x[:, :, 0])).sum((1, 2, 3))[:, None], signal=signal, gate=gate)
    x = clip(1, 3, 1, 4, 4)
    maps = signal(x[:, :, 0])
    scale = gate(maps) / maps
    expected = x[:, :, 0] * torch.einsum("kc,nkhw->nchw", signal.weight[:, :, 0, 0], scale)
    torch.testing.assert_close(explained(EXACT, model, x).raw[:, :, 0], expected.detach())


@pytest.mark.parametrize("kind", [InputAttention, SoftmaxAttention])
def test_input_attention_is_a_gate(kind):
    torch.manual_seed(9)
    model = Of(lambda m, x: m.mask(x[:, :, 0])[0].sum((1, 2, 3))[:, None], mask=kind(3)).double().eval()
    x = clip(1, 3, 1, 16, 16)
    torch.testing.assert_close(explained(EXACT, model, x).raw[:, :, 0], model.mask(x[:, :, 0])[0].detach())


def test_gelu_by_hand_is_gelu():
    def by_hand(m, x):
        v = m.conv(x)
        return (0.5 * v * (1 + torch.erf(v / 2**0.5))).sum((1, 2, 3, 4))[:, None]

    conv = nn.Conv3d(3, 4, 1, bias=False).double()
    x = clip(1, 3, 2, 3, 3)
    built_in = Of(lambda m, x: F.gelu(m.conv(x)).sum((1, 2, 3, 4))[:, None], conv=conv)
    torch.testing.assert_close(explained(EXACT, Of(by_hand, conv=conv), x).raw, explained(EXACT, built_in, x).raw)


def test_what_a_function_is_at_zero_is_named():
    model = Of(lambda m, x: torch.sigmoid(x * 0.0 + x.clamp(max=0.3).relu()).sum((1, 2, 3, 4))[:, None])
    x = torch.zeros(1, 3, 1, 2, 2).double()
    ledger = explained(EXACT, model, x).extra["ledger"]
    assert ledger.score == pytest.approx(6.0)
    assert ledger.causes["rule"] == pytest.approx(6.0)


def test_a_map_of_what_was_mostly_absorbed_says_so():
    model = made(Folded)
    with torch.no_grad():
        model.out.bias += 10
    found = explained(LRP(), model, torch.rand(1, 3, 5, 14, 12))
    assert any("absorbed on the way, most by bias" in flag for flag in found.certificate.flags)
    silent = Of(lambda m, x: x.mean((3, 4)).mT.detach().sum((1, 2))[:, None] + 0 * x.sum()[None, None])
    assert (
        "no relevance reaches the pixels: the map is zero"
        in explained(LRP(), silent, clip(1, 3, 2, 2, 2)).certificate.flags
    )


def test_a_batch_is_its_clips_and_probabilities_are_scores_too():
    model, x = made(Folded), torch.rand(2, 3, 5, 14, 12)
    both = explained(LRP(), model, x, Probability(1))
    for place in range(2):
        alone = explained(LRP(), model, x[place : place + 1], Probability(1))
        torch.testing.assert_close(both.values[place], alone.values[0])
    assert len(both.extra["ledger"]) == 2


def test_operations_without_a_rule_are_refused_after_a_named_layer():
    model = Of(lambda m, x: torch.fft.rfft(m.first(x.flatten(1))).real, first=nn.Linear(24, 8))
    with pytest.raises(
        ExplainError, match=r"lrp has no rule for torch.fft.rfft, called after first\. Take integrated-grad"
    ):
        explained(LRP(), model, torch.rand(1, 3, 2, 2, 2))


@pytest.mark.parametrize(
    "settings", [{"composite": "flat"}, {"attention": "all"}, {"epsilon": -1.0}, {"gamma": -0.1}], ids=str
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(SpecError):
        LRP(**settings)


@pytest.mark.parametrize("layer", ["Conv3d", "ConvTranspose2d", "GRU"])
def test_captum_refuses_the_layers_of_video_models_and_ours_conserves(layer):
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(10)
    layers = {
        "Conv3d": Of(
            lambda m, x: m.out(m.conv(x).relu().flatten(1)),
            conv=nn.Conv3d(3, 4, 2, bias=False),
            out=nn.Linear(36, 2, bias=False),
        ),
        "ConvTranspose2d": Of(
            lambda m, x: m.out(m.conv(x.flatten(1, 2)).relu().flatten(1)),
            conv=nn.ConvTranspose2d(6, 4, 2, bias=False),
            out=nn.Linear(100, 2, bias=False),
        ),
        "GRU": Of(
            lambda m, x: m.out(m.gru(x.mean((3, 4)).mT)[0][:, -1]),
            gru=nn.GRU(3, 4, batch_first=True, bias=False),
            out=nn.Linear(4, 2, bias=False),
        ),
    }
    model, x = layers[layer].double(), clip(1, 3, 2, 4, 4)
    peer = captum.LRP(model)
    with pytest.raises(TypeError, match=rf"\.{layer}'> has no rule"):
        peer.attribute(x.clone().requires_grad_(), target=0)
    ledger = assert_balanced(explained(LRP(), model, x))
    assert ledger.mapped == pytest.approx(ledger.score, rel=1e-4)


@pytest.mark.parametrize(("bias", "share"), [(0.0, None), (0.05, None), (0.2, "80%"), (-0.3, "130%")])
def test_a_map_that_does_not_sum_to_the_score_says_so(bias, share):
    x = torch.full((1, 1, 2, 4, 4), 0.5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(x.numel(), 1))
    with torch.no_grad():
        model[1].weight.fill_((1 - bias) / (0.5 * x.numel()))
        model[1].bias.fill_(bias)
    found = LRP(composite="epsilon").attribute(model, x, Output(), certify=False)
    flags = [flag for flag in found.certificate.flags if "the map sums to" in flag]
    assert float(found.values.sum()) == pytest.approx(1 - bias, abs=1e-3)
    assert abs(found.certificate.gap) < 1e-4
    assert flags == [] if share is None else flags[0].startswith(f"the map sums to {share} of the score")
