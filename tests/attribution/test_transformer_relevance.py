"""Relevance of attention against its definition, written out."""

import torch
from einops import rearrange
from torch import nn

from vidence.attribution.transformer_relevance import TransformerRelevance
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes
from zoo import CLIP_MODELS, made


class WrittenSelfAttention(nn.Module):
    """Two joint attentions that keep their weights, 3 heads folded into the batch in the second."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv3d(3, 6, (1, 7, 6), (1, 7, 6)), nn.LayerNorm(6)
        self.qkv, self.out = nn.ModuleList(nn.Linear(6, 18) for _ in range(2)), nn.Linear(6, 3)
        self.kept = []

    def forward(self, x):
        tokens = rearrange(self.patches(x), "n d t h w -> n (t h w) d")
        for place, qkv in enumerate(self.qkv):
            q, k, v = rearrange(qkv(self.norm(tokens)), "n l (p h d) -> p n h l d", p=3, h=3)
            if place:
                q, k, v = (part.flatten(0, 1) for part in (q, k, v))
            weights = (2 * q @ k.transpose(-1, -2)).softmax(-1)
            self.kept.append(weights)
            mixed = weights @ v
            tokens = tokens + rearrange(mixed, "n h l d -> n l (h d)" if not place else "(n h) l d -> n l (h d)", h=3)
        return self.out(tokens.mean(1))


def test_it_is_chefers_generic_form():
    torch.manual_seed(0)
    model, x = WrittenSelfAttention().eval(), torch.rand(1, 3, 5, 14, 12)
    score = model(x)[0, 1]
    mixing = torch.eye(20)
    for weights, gradient in zip(model.kept, torch.autograd.grad(score, model.kept), strict=True):
        mixing = mixing + (weights * gradient).clamp_min(0).reshape(3, 20, 20).mean(0).detach() @ mixing
    expected = (mixing - torch.eye(20)).mean(0)
    model.kept.clear()
    with counted_passes(model) as passes:
        found = TransformerRelevance().attribute(model, x, Logit(1), certify=False)
    torch.testing.assert_close(found.raw[0], expected.reshape(5, 2, 2))
    assert found.raw.min() >= 0
    assert found.raw.max() > 0
    assert (passes.forwards, passes.gradients) == (1, 1)


def test_a_score_that_needs_no_attention_gets_a_flagged_zero():
    model, x = made(CLIP_MODELS["transformer"]).eval(), torch.rand(1, 3, 5, 14, 12)
    found = TransformerRelevance().attribute(model, x, lambda output, x: x.mean((1, 2, 3, 4)), certify=False)
    assert not found.values.any()
    assert "zero" in found.certificate.flags[0]
