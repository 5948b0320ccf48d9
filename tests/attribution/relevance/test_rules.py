"""Every rule equals its definition on the dense matrix of the operator, built column by column."""

import pytest
import torch
import torch.nn.functional as F

from vidence.attribution.relevance.propagation import Linear
from vidence.attribution.relevance.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Inputs, WSquare, z_plus
from vidence.errors import SpecError

# name, shape of a, shape of the weight, how, output channels
OPERATORS = {
    "linear": ((1, 6), (5, 6), F.linear),
    "conv1d": ((1, 2, 7), (3, 2, 3), lambda a, w: F.conv1d(a, w, stride=2, padding=1)),
    "conv2d": ((1, 2, 4, 5), (4, 1, 3, 2), lambda a, w: F.conv2d(a, w, padding=1, groups=2)),
    "conv3d": ((1, 2, 3, 3, 3), (2, 2, 2, 2, 2), lambda a, w: F.conv3d(a, w, dilation=2, padding=1)),
    "conv_transpose1d": ((1, 2, 4), (2, 3, 3), lambda a, w: F.conv_transpose1d(a, w, stride=2)),
    "conv_transpose2d": ((1, 2, 3, 3), (2, 3, 2, 2), lambda a, w: F.conv_transpose2d(a, w, stride=2, padding=1)),
    "conv_transpose3d": ((1, 2, 2, 2, 2), (2, 2, 2, 2, 2), lambda a, w: F.conv_transpose3d(a, w)),
    "matmul": ((1, 3, 4), (4, 5), torch.matmul),
}


def made(name, *, bias, positive=False):
    torch.manual_seed(5)
    shape, weight_shape, function = OPERATORS[name]
    a, weight = torch.randn(shape).double(), torch.randn(weight_shape).double()
    a = a.abs() if positive else a
    z = function(a, weight)
    shift = None
    if bias:
        shift = torch.randn(z.shape[1] if name.startswith("conv") else z.shape[-1]).double()
        shift = shift.reshape(-1, *[1] * (z.ndim - 2)) if name.startswith("conv") else shift
    return Linear(name, "layer", 0, a, weight, shift, function), torch.randn_like(z)


def matrix(call, weight):
    """(outputs, inputs) of the operator with another weight; slow."""
    columns = []
    for place in range(call.a.numel()):
        unit = torch.zeros(call.a.numel()).double()
        unit[place] = 1
        columns.append(call.function(unit.reshape(call.a.shape), weight).flatten())
    return torch.stack(columns, dim=1)


def shared(rule, call, relevance, low=None, high=None):
    """The relevance of the inputs by the rule itself, and what bias and epsilon keep."""
    parts = [part if part is None else part.clone().requires_grad_() for part in (call.a, low, high)]
    shares = rule.share(call, Inputs(*parts), call.value(), relevance)
    wanted = [part for part in parts if part is not None]
    found = torch.autograd.grad(shares.parts, wanted, shares.multipliers, materialize_grads=True)
    total = sum((part * c).detach() for part, c in zip(wanted, found, strict=True))
    return total.flatten(), shares.bias + shares.epsilon


def twin(contributions, relevance, keeps=0.0):
    """sum over k of q_kj R_k / (sum over j of q_kj + keeps_k), an output without contributions giving nothing."""
    found = torch.zeros(contributions.shape[1]).double()
    for k, row in enumerate(contributions):
        total = row.sum() + (keeps[k] if isinstance(keeps, torch.Tensor) else keeps)
        if total != 0:
            found += row * relevance[k] / total
    return found


def bias_of(call):
    z = call.function(call.a, call.weight)
    return (torch.zeros_like(z) if call.bias is None else call.bias.expand_as(z)).flatten()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
class TestTwins:
    def test_epsilon(self, name, bias):
        call, r = made(name, bias=bias)
        q = matrix(call, call.weight) * call.a.flatten()
        z = q.sum(1) + bias_of(call)
        keeps = 0.1 * z.abs().mean() * torch.where(z >= 0, 1.0, -1.0)
        found, kept = shared(Epsilon(0.1), call, r)
        torch.testing.assert_close(found, twin(q, r.flatten(), bias_of(call) + keeps))
        torch.testing.assert_close(found.sum() + kept, r.sum())

    def test_gamma(self, name, bias):
        call, r = made(name, bias=bias)
        q = matrix(call, call.weight) * call.a.flatten()
        b = bias_of(call)
        sign = torch.where(q.sum(1) + b >= 0, 1.0, -1.0)
        q = q + 0.5 * (q * sign[:, None]).clamp(min=0) * sign[:, None]
        b = b + 0.5 * (b * sign).clamp(min=0) * sign
        found, kept = shared(Gamma(0.5), call, r)
        torch.testing.assert_close(found, twin(q, r.flatten(), b))
        torch.testing.assert_close(found.sum() + kept, r.sum())

    def test_alpha_beta(self, name, bias):
        call, r = made(name, bias=bias)
        q = matrix(call, call.weight) * call.a.flatten()
        above, below = q.clamp(min=0), q.clamp(max=0)
        expected = torch.zeros(q.shape[1]).double()
        for k in range(len(q)):
            p, n = above[k].sum(), below[k].sum()
            if p > 0 and n < 0:
                expected += (2 * above[k] / p - below[k] / n) * r.flatten()[k]
            elif p > 0 or n < 0:  # of one sign only: it takes all
                expected += (above[k] + below[k]) / (p + n) * r.flatten()[k]
        found, _ = shared(AlphaBeta(2.0, 1.0), call, r)
        torch.testing.assert_close(found, expected)

    def test_z_plus(self, name, bias):
        call, r = made(name, bias=bias, positive=True)
        q = (matrix(call, call.weight) * call.a.flatten()).clamp(min=0)
        supported = q.sum(1) > 0
        found, _ = shared(z_plus(), call, r * supported.reshape(r.shape))
        torch.testing.assert_close(found, twin(q, r.flatten()))

    def test_box(self, name, bias):
        call, r = made(name, bias=bias)
        low, high = torch.full_like(call.a, -4.0), torch.full_like(call.a, 5.0)
        w = matrix(call, call.weight)
        q = w * call.a.flatten() + 4 * w.clamp(min=0) - 5 * w.clamp(max=0)
        assert (q >= 0).all()
        found, _ = shared(Box(), call, r, low, high)
        torch.testing.assert_close(found, twin(q, r.flatten()))

    def test_flat_and_w_square(self, name, bias):
        call, r = made(name, bias=bias)
        low, high = torch.full_like(call.a, -1.0), torch.full_like(call.a, 2.0)
        reach = (matrix(call, torch.ones_like(call.weight)) != 0).double()
        torch.testing.assert_close(shared(Flat(), call, r, low, high)[0], twin(reach, r.flatten()))
        squares = matrix(call, call.weight).square()
        torch.testing.assert_close(shared(WSquare(), call, r, low, high)[0], twin(squares, r.flatten()))

    def test_gamma_runs_from_lrp_0_to_z_plus(self, name, bias):
        call, r = made(name, bias=False, positive=True)
        q = matrix(call, call.weight) * call.a.flatten()
        supported = ((q.sum(1) >= 0) & (q.max(1).values > 0)).reshape(
            r.shape
        )  # gamma raises what has the output's sign
        torch.testing.assert_close(shared(Gamma(0.0), call, r)[0], shared(Epsilon(1e-12), call, r)[0])
        many, plus = shared(Gamma(1e9), call, r * supported)[0], shared(z_plus(), call, r * supported)[0]
        torch.testing.assert_close(many, plus, rtol=1e-5, atol=1e-6)


def test_an_output_that_is_exactly_zero_gives_nothing_and_nothing_is_infinite():
    call = Linear(
        "linear", "layer", 0, torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0], [0.0, 0.0]]), None, F.linear
    )
    for rule in (Epsilon(0.0), Epsilon(), Gamma(), AlphaBeta()):
        found, _ = shared(rule, call, torch.ones(1, 2))
        assert found.isfinite().all()


def test_the_box_widens_where_differences_of_pixels_leave_it():
    call, r = made("linear", bias=False)
    low = high = torch.zeros_like(call.a)  # the difference of two frames of one colour
    found, _ = shared(Box(), call, r, low, high)
    torch.testing.assert_close(found.sum(), r.sum())


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(SpecError, match="alpha - beta"):
        AlphaBeta(2.0, 0.5)
    call, r = made("linear", bias=False)
    with pytest.raises(SpecError, match="range of the pixels"):
        shared(Box(), call, r)
