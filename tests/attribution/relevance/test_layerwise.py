"""What counts as a gate, what the books say, and how attention and norms are called."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attribution.relevance.test_lrp import EXACT, Of, clip, explained
from vidence.attribution.relevance import rules
from vidence.attribution.relevance.lrp import LRP
from vidence.errors import ExplainError
from vidence.models.reconstruction import Reconstruction
from vidence.scoring.scores import SSIM


def gated(gate):
    """tanh or sigmoid features as a factor of ReLU features."""
    torch.manual_seed(11)

    def run(m, x):
        f = x.mean((2, 3, 4))
        return m.out(gate(m.gate(f)) * torch.relu(m.signal(f)))

    layers = {"gate": nn.Linear(3, 6), "signal": nn.Linear(3, 6), "out": nn.Linear(6, 2)}
    return explained(EXACT, Of(run, **layers).double(), clip(1, 3, 2, 2, 2)).raw


def test_an_odd_function_is_a_gate_where_one_is_added_and_nowhere_else():
    halves = gated(lambda v: F.linear(torch.tanh(v), torch.eye(6).double(), torch.full((6,), 0.3).double()))
    torch.testing.assert_close(gated(lambda v: torch.tanh(v) + 0.3), halves)
    by_hand = gated(lambda v: 0.5 * (1 + torch.tanh(v / 2)))
    torch.testing.assert_close(by_hand, gated(torch.sigmoid))
    wide = gated(lambda v: F.linear(torch.tanh(v), 2 * torch.eye(6).double(), torch.ones(6).double()))
    torch.testing.assert_close(gated(lambda v: 2 * torch.tanh(v) + 1), wide)


@pytest.mark.parametrize("score", [SSIM(), SSIM(mode="fixed")], ids=str)
def test_a_reconstruction_is_a_signal_whatever_made_it(score):
    torch.manual_seed(12)
    conv = nn.Conv3d(3, 3, 1).double()
    x = clip(1, 3, 2, 16, 16)
    gate = Of(lambda m, x: Reconstruction(torch.sigmoid(m.conv(x))), conv=conv)
    other = Of(lambda m, x: Reconstruction(torch.sigmoid(m.conv(x)) ** 1), conv=conv)  # a power is no gate
    torch.testing.assert_close(explained(EXACT, gate, x, score).raw, explained(EXACT, other, x, score).raw)


def test_causes_that_cancel_are_flagged_by_their_sizes():
    model = Of(lambda m, x: m.out(x.mean((2, 3, 4))) - 5, out=nn.Linear(3, 1))
    with torch.no_grad():
        model.out.weight.fill_(0.2)
        model.out.bias.fill_(5.0)
    flags = explained(LRP(composite="epsilon"), model.double(), clip(1, 3, 2, 2, 2)).certificate.flags
    assert any("causes by their sizes" in flag for flag in flags)


@pytest.mark.parametrize("heads", [1, 3])
def test_unbatched_attention_with_padding_is_the_batched_one(heads):
    torch.manual_seed(13)
    attention = nn.MultiheadAttention(3, heads, batch_first=True)
    padding = torch.tensor([False, False, True])

    def one(m, x):
        tokens = x.mean((3, 4)).mT[0]
        return m.attention(tokens, tokens, tokens, key_padding_mask=padding)[0].sum(0)[None]

    def batch(m, x):
        tokens = x.mean((3, 4)).mT
        return m.attention(tokens, tokens, tokens, key_padding_mask=padding[None])[0].sum(1)

    x = clip(1, 3, 3, 2, 2)
    found, expected = (explained(EXACT, Of(run, attention=attention).double(), x).raw for run in (one, batch))
    torch.testing.assert_close(found, expected)


def test_norms_of_matrices_that_are_not_frobenius_are_refused():
    x = torch.rand(1, 3, 2, 2, 2)
    for order in (2, 1, "nuc"):
        model = Of(lambda m, x, order=order: x / torch.linalg.norm(x.flatten(1).reshape(4, 6), ord=order))
        with pytest.raises(ExplainError, match=r"no rule for torch\.linalg\.norm"):
            explained(LRP(), Of(lambda m, x, model=model: model(x).sum((1, 2, 3, 4))[:, None]), x)
    plain = explained(LRP(), Of(lambda m, x: torch.linalg.norm(x.flatten(1), dim=1, ord=2)[:, None]), x)
    assert float(plain.raw.sum()) == pytest.approx(float(x.norm()), rel=1e-4)


def test_a_wrong_rule_shows_in_the_gap(monkeypatch):
    right = rules._proportional

    def wrong(*given):
        shares = right(*given)
        return rules.replace(shares, multipliers=tuple(1.2 * part for part in shares.multipliers))

    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 2, bias=False)).double()
    x = clip(1, 3, 2, 2, 2)
    ledger = explained(EXACT, model, x).extra["ledger"]
    assert abs(ledger.gap) < 1e-9
    monkeypatch.setattr(rules, "_proportional", wrong)
    ledger = explained(EXACT, model, x).extra["ledger"]
    assert ledger.gap == pytest.approx(-0.2 * ledger.score)
    assert ledger.causes["rule"] == 0


@pytest.mark.parametrize(
    ("named", "placed"),
    [
        (lambda x: torch.add(x, other=torch.ones(2).double()), lambda x: x + torch.ones(2).double()),
        (lambda x: x.masked_fill(x > 0.5, value=0.7), lambda x: x.masked_fill(x > 0.5, 0.7)),
        (
            lambda x: x.index_fill(1, torch.tensor([0]), value=0.5),
            lambda x: torch.cat((torch.full_like(x[:, :1], 0.5).detach(), x[:, 1:]), 1),
        ),
    ],
    ids=["add", "masked_fill", "index_fill"],
)
def test_constants_given_by_name_keep_their_part(named, placed):
    x = clip(1, 3, 2, 2, 2)
    found, expected = (
        explained(EXACT, Of(lambda m, x, f=f: f(x).sum((1, 2, 3, 4))[:, None]), x) for f in (named, placed)
    )
    torch.testing.assert_close(found.raw, expected.raw)
    assert float(found.gap) == pytest.approx(0, abs=1e-9)
    assert found.extra["ledger"].causes["constants"] == pytest.approx(expected.extra["ledger"].causes["constants"])
