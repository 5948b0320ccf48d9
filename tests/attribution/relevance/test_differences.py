"""Multipliers where values are infinite."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attribution.relevance.test_deep_lift import BLACK, Of, clip, of_baseline
from vidence.scoring.scores import Logit


@pytest.mark.parametrize("how", ["causal", "mask", "padding", "filled"])
def test_attention_with_places_that_are_masked_out_is_complete(how):
    attention = nn.MultiheadAttention(3, 1, batch_first=True).double()
    hidden = torch.ones(4, 4, dtype=torch.bool).triu(1)

    def run(m, x):
        tokens = 3 * x.mean((3, 4)).mT
        if how == "causal":
            return F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True).sum((1, 2))[:, None]
        if how == "filled":
            logits = (tokens @ tokens.mT).masked_fill(hidden, -float("inf"))
            return (logits.softmax(-1) @ tokens).square().sum((1, 2))[:, None]
        options = {"attn_mask": hidden} if how == "mask" else {"key_padding_mask": hidden[:1]}
        return m.attention(tokens, tokens, tokens, need_weights=False, **options)[0].square().sum((1, 2))[:, None]

    model, x = Of(run, attention=attention), clip(3, 4, 2, 2)
    found = BLACK.attribute(model, x, Logit(0), certify=False)
    assert found.raw.any()
    torch.testing.assert_close(found.raw.sum()[None], of_baseline(model, x, "black", Logit(0)).detach())
