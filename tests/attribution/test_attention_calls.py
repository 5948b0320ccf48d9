"""Attention at its call: the weights are softmax(QK / sqrt d), the output is the model's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.attribution.attention_calls import AttentionCalls, without_attention
from zoo import CLIP_MODELS, Cnn, Folded, made


class Calling(nn.Module):
    """Hands three tensors to any way of attention."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, *parts):
        return self.call(*parts)


def seen(model, *parts, weights="values", fuse=None):
    calls = AttentionCalls(model, 1, weights=weights, fuse=fuse)
    with calls:
        output = model(*parts)
    return output, calls.seen


Q, K, V = torch.rand(3, 1, 4, 6, 8, generator=torch.Generator().manual_seed(0)).unbind()
WEIGHTS = (Q @ K.transpose(-1, -2) / 8**0.5).softmax(-1)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        lambda q, k, v: F.scaled_dot_product_attention(query=q, key=k, value=v, dropout_p=0.0, scale=8**-0.5),
        lambda q, k, v: F.dropout(F.softmax(q @ k.transpose(-1, -2) / 8**0.5, dim=-1), 0.5, False) @ v,
        lambda q, k, v: torch.matmul((q @ k.transpose(-1, -2) / 8**0.5).softmax(-1).to(v.dtype), v),
        lambda q, k, v: torch.einsum("nhqk,nhkd->nhqd", torch.softmax(q @ k.mT / 8**0.5, -1), v),
        lambda q, k, v: torch.bmm((q[0] @ k[0].mT / 8**0.5).softmax(-1), v[0])[None],
    ],
)
@pytest.mark.parametrize("weights", ["values", "graph"])
def test_weights_are_the_softmax_and_the_output_is_the_models(call, weights):
    expected = call(Q, K, V)
    output, found = seen(Calling(call), Q, K, V, weights=weights)
    assert len(found) == 1
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[0].weights.detach().reshape(WEIGHTS.shape), WEIGHTS)
    if weights == "graph":
        (gradient,) = torch.autograd.grad(output.sum(), found[0].weights)
        torch.testing.assert_close(gradient.reshape(WEIGHTS.shape), V.sum(-1)[:, :, None].expand_as(WEIGHTS))


@pytest.mark.parametrize(
    "how",
    [
        {"is_causal": True},
        {"attn_mask": torch.rand(6, 6) > 0.3},
        {"attn_mask": torch.randn(1, 1, 6, 6)},
        {"scale": 0.2},
        {"enable_gqa": True},
    ],
)
def test_masks_scales_and_shared_keys_of_fused_attention(how):
    if "attn_mask" in how and how["attn_mask"].dtype == torch.bool:
        how = {"attn_mask": how["attn_mask"] | torch.eye(6, dtype=torch.bool)}
    k, v = (K[:, :2], V[:, :2]) if "enable_gqa" in how else (K, V)
    call = Calling(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **how))
    output, found = seen(call, Q, k, v)
    torch.testing.assert_close(output, call(Q, k, v), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[0].weights.sum(-1), torch.ones(1, 4, 6))


def test_dropout_inside_fused_attention_is_off():
    output, _ = seen(Calling(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.9)), Q, K, V)
    torch.testing.assert_close(output, WEIGHTS @ V)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_torchs_own_layer(batch_first, masked):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval().requires_grad_(False)
    x = torch.rand(2, 5, 8) if batch_first else torch.rand(5, 2, 8)
    barred = torch.zeros(2, 5, dtype=torch.bool)
    barred[1, 3:] = True
    how = {"key_padding_mask": barred, "attn_mask": torch.zeros(5, 5, dtype=torch.bool)} if masked else {}
    call = Calling(lambda x: layer(x, x, x, average_attn_weights=False, **how))
    (expected, weights), ((output, shown), found) = call(x), seen(call, x)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shown, weights)
    torch.testing.assert_close(found[0].weights, weights)
    (_, shown), _ = seen(Calling(lambda x: layer(x, x, x, need_weights=False, **how)), x)
    assert shown is None


def test_keys_of_other_widths_and_keys_that_are_no_tokens():
    layer = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True).eval()
    x, k, v = torch.rand(1, 5, 8), torch.rand(1, 5, 6), torch.rand(1, 5, 4)
    assert seen(layer, x, k, v)[1] == []  # not of the tokens among themselves
    zero = nn.MultiheadAttention(8, 2, add_zero_attn=True, batch_first=True).eval()
    with pytest.raises(ValueError, match="zero key"):
        seen(zero, x, x, x)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, k, v: F.scaled_dot_product_attention(q[:, :, :1], k, v),  # one query of a pooling head
        lambda q, k, v: q[0, 0].softmax(-1) @ v[0, 0].mT,  # class probabilities
        lambda q, k, v: (q @ k.mT).softmax(-1).sum(),  # weights of nothing
    ],
)
def test_what_is_no_self_attention(call):
    assert seen(Calling(call), Q, K, V)[1] == []


@pytest.mark.parametrize("key", ["transformer", "divided attention"])
def test_the_fast_paths_are_not_taken_and_no_graph_is_built(key):
    model, x = made(CLIP_MODELS[key]).eval().requires_grad_(False), torch.rand(1, 3, 5, 14, 12)
    with torch.no_grad():
        expected = model(x)
    for weights in ("none", "values", "graph"):
        calls = AttentionCalls(model, 5, weights=weights)
        with calls:
            output = model(x)
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
        assert len(calls.seen) == (2 if key == "transformer" else 4)
        assert output.requires_grad == (weights == "graph")
        assert all(site.norm is not None for site in calls.seen)
    assert calls.seen[-1].norm.endswith("1.norm1")


def test_the_norm_before_the_last_attention_is_marked_alone():
    model, x = made(CLIP_MODELS["divided attention"]).eval().requires_grad_(False), torch.rand(1, 3, 5, 14, 12)
    calls = AttentionCalls(model, 5, marks=True)
    with calls:
        output = model(x)
    assert calls.right
    assert calls.site == "transformer.blocks.1.norm1"
    assert len(calls.leaves) == 1
    assert torch.autograd.grad(output[0, 0], calls.leaves)[0].abs().sum() > 0


def test_who_is_refused():
    assert "grad-cam" in without_attention(made(Cnn))
    assert "recurrent head" in without_attention(made(Folded))
    assert without_attention(made(CLIP_MODELS["transformer"])) is None

    class WindowAttention(nn.MultiheadAttention):
        """As in Swin."""

    assert "cdam" in without_attention(WindowAttention(8, 2))
    assert without_attention(WindowAttention(8, 2), windows=True) is None
