"""Attention rollout against dense matrices made token by token."""

import pytest
import torch
from einops import rearrange

from vidence.attribution.activation import in_frames
from vidence.attribution.eigen_cam import ANY_SCORE
from vidence.attribution.rollout import AttentionRollout, attentions, rolled
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes
from zoo import CLIP_MODELS, Folded, made


def weights_of(attend, tokens):
    """softmax(Q K / sqrt d) of our own attention module, (m, heads, l, l)."""
    q, k, _ = rearrange(attend.qkv(tokens), "m l (p h d) -> p m h l d", p=3, h=attend.heads)
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)


def slow(model, x, heads="mean", discard=0.0):
    """A.32, block by block, with dense matrices over all tokens."""
    network, inputs = model.transformer, []
    hooks = [
        attend.register_forward_hook(lambda module, args, output: inputs.append((module, args[0])))
        for block in network.blocks
        for attend in (block.temporal_attn, block.attn)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    t, s = x.shape[2], 4
    mixing = torch.eye(1 + t * s)
    for place, (attend, tokens) in enumerate(inputs):
        weights = weights_of(attend, tokens)
        weights = weights.mean(1) if heads == "mean" else getattr(weights, heads)(1).values
        if discard:
            weights = weights * (weights > weights.flatten().sort().values[int(discard * weights.numel()) - 1])
        matrix = torch.zeros(1 + t * s, 1 + t * s)
        for m, sequence in enumerate(weights):
            if place % 2 == 0:
                at = [1 + i * s + m for i in range(t)]
            else:
                at = [0, *range(1 + m * s, 1 + (m + 1) * s)]
            for i, row in enumerate(at):
                for j, column in enumerate(at):
                    matrix[row, column] += sequence[i, j] / (t if row == 0 else 1)
        matrix = matrix + torch.eye(len(matrix))
        mixing = matrix / matrix.sum(1, keepdim=True) @ mixing
    return mixing


@pytest.mark.parametrize("how", [{}, {"heads": "max"}, {"heads": "min", "discard": 0.4}, {"discard": 0.9}])
def test_it_is_the_product_of_dense_matrices(how):
    model, x = made(CLIP_MODELS["divided attention"]).eval(), torch.rand(1, 3, 5, 14, 12)
    mixing = slow(model, x, **how)
    torch.testing.assert_close(mixing.sum(1), torch.ones(21))
    found = AttentionRollout(**how).attribute(model, x, Logit(0), certify=False)
    torch.testing.assert_close(found.raw[0], mixing[0, 1:].reshape(5, 2, 2))
    torch.testing.assert_close(found.values, found.raw)
    assert ANY_SCORE in found.certificate.flags


def test_rows_of_every_partial_product_sum_to_one():
    for key in ("transformer", "divided attention"):
        model = made(CLIP_MODELS[key]).eval().requires_grad_(False)
        seen, layout = attentions(model, torch.rand(1, 3, 5, 14, 12), "max")
        mixing = torch.eye(layout.tokens)
        for site in seen:
            mixing = rolled(site.weights, mixing, layout)
            torch.testing.assert_close(mixing.sum(1), torch.ones(layout.tokens))


def test_without_a_class_token_it_is_the_mean_of_rows():
    model, x = made(CLIP_MODELS["transformer"]).eval(), torch.rand(1, 3, 5, 14, 12)
    seen, _ = attentions(model, x, "mean")
    mixing = torch.eye(20)
    for site in seen:
        mixing = (site.weights[0] + torch.eye(20)) / 2 @ mixing
    found = AttentionRollout().attribute(model, x, Logit(0), certify=False)
    torch.testing.assert_close(found.raw[0], mixing.mean(0).reshape(5, 2, 2))
    assert found.raw.sum() == pytest.approx(1, abs=1e-5)
    assert "2 attentions" in found.layer


def test_tubelets_are_spread_over_their_frames():
    model, x = made(CLIP_MODELS["divided attention"]).eval(), torch.rand(1, 3, 5, 14, 12)
    model.transformer.tubelet, model.transformer.patch_embed.proj = 2, torch.nn.Conv3d(3, 12, (2, 16, 16), (2, 16, 16))
    found = AttentionRollout().attribute(model, x, Logit(0), certify=False)
    assert found.raw.shape == (1, 3, 2, 2)
    torch.testing.assert_close(found.values[0], in_frames(found.raw[0], 5))


def test_it_costs_a_forward_pass():
    model, x = made(CLIP_MODELS["transformer"]), torch.rand(1, 3, 5, 14, 12)
    with counted_passes(model) as passes:
        AttentionRollout().attribute(model, x, Logit(0), certify=False)
    assert (passes.forwards, passes.gradients) == (1, 0)


def test_refusals():
    with pytest.raises(ExplainError, match="Take grad-cam or when-where"):
        AttentionRollout()(made(Folded), torch.rand(1, 3, 5, 14, 12), Logit(0))
    for how in ({"heads": "sum"}, {"discard": 1.0}, {"discard": -0.1}):
        with pytest.raises(SpecError):
            AttentionRollout(**how)
