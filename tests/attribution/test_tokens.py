"""Where tokens lie: foldings, orders, and layouts that are traced and not assumed."""

import pytest
import torch
from einops import rearrange
from torch import nn

from vidence.attribution.activation import activation_maps
from vidence.attribution.attention_calls import AttentionCalls
from vidence.attribution.rollout import AttentionRollout
from vidence.attribution.tokens import TokenLayout
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit
from zoo import CLIP_MODELS, made

CLIP = torch.arange(2 * 2 * 3 * 5.0).reshape(2, 2, 3, 5)  # (t, h, w, d)


@pytest.mark.parametrize(
    ("prefix", "order", "tokens"),
    [
        (0, "t h w", rearrange(CLIP, "t h w d -> 1 (t h w) d")),
        (1, "h w t", torch.cat([torch.ones(1, 1, 5), rearrange(CLIP, "t h w d -> 1 (h w t) d")], dim=1)),
        (0, "t h w", rearrange(CLIP, "t h w d -> (t h w) 1 d")),
        (1, "t h w", torch.cat([torch.ones(2, 1, 5), rearrange(CLIP, "t h w d -> t (h w) d")], dim=1)),
        (1, "h w t", rearrange(CLIP, "t h w d -> (h w) t d")),
    ],
)
def test_every_way_to_hold_a_clips_tokens_gives_its_maps(prefix, order, tokens):
    assert torch.equal(TokenLayout(prefix, (2, 2, 3), order).maps(tokens), rearrange(CLIP, "t h w d -> t d h w"))


def test_merged_patches_are_on_a_coarser_grid():
    tokens = torch.arange(2 * 2 * 3.0).reshape(1, 12, 1)
    assert torch.equal(TokenLayout(0, (2, 4, 6)).maps(tokens), tokens.reshape(2, 1, 2, 3))


def test_what_fits_no_folding_or_two_is_refused():
    with pytest.raises(ExplainError, match="3 sequences of 7"):
        TokenLayout(0, (2, 2, 3)).maps(torch.zeros(3, 7, 4))
    with pytest.raises(ExplainError, match="4 sequences of 4"):  # by frame or by place?
        TokenLayout(0, (4, 2, 2)).maps(torch.zeros(4, 4, 4))
    with pytest.raises(ExplainError, match="order"):
        TokenLayout(0, (2, 2, 3), None).maps(torch.zeros(1, 12, 4))


def test_mixing_is_a_matrix_that_keeps_to_frames_and_places():
    layout, own = TokenLayout(1, (2, 2, 3)), torch.eye(13)
    space, time = torch.rand(2, 7, 7).softmax(-1), torch.rand(6, 2, 2).softmax(-1)
    expected = torch.zeros(2, 13, 13)
    for t in range(2):
        at = [0, *range(1 + 6 * t, 7 + 6 * t)]
        for i, row in enumerate(at):
            for j, column in enumerate(at):
                expected[0, row, column] += space[t, i, j] / (2 if row == 0 else 1)  # shared by two frames
    for s in range(6):
        for i in range(2):
            for j in range(2):
                expected[1, 1 + 6 * i + s, 1 + 6 * j + s] = time[s, i, j]
    torch.testing.assert_close(layout.mixed(space, own), expected[0])
    torch.testing.assert_close(layout.mixed(time, own), expected[1])


def test_joint_mixing_follows_the_order_of_tokens():
    weights = torch.rand(1, 13, 13)
    order = [0, *(1 + rearrange(torch.arange(12), "(h w t) -> (t h w)", t=2, h=2)).tolist()]
    found = TokenLayout(1, (2, 2, 3), "h w t").mixed(weights, torch.eye(13))
    torch.testing.assert_close(found, weights[0][order][:, order])


def test_a_class_token_of_each_frame_has_no_mixing():
    with pytest.raises(ExplainError, match="without a place"):
        TokenLayout(0, (2, 2, 3)).mixed(torch.rand(2, 7, 7), torch.eye(12))


class Ordered(nn.Module):
    """Tokens in any order, with any number of tokens before or after them; one attention."""

    def __init__(self, order, prefix=0, after=0, looped=False):
        super().__init__()
        self.order, self.looped = order, looped
        self.patches = nn.Conv2d(3, 8, (7, 6), (7, 6))
        self.first, self.last = (nn.Parameter(torch.rand(1, count, 8)) for count in (prefix, after))
        self.norm, self.attend, self.out = (
            nn.LayerNorm(8),
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.Linear(8, 3),
        )

    def forward(self, x):
        if self.looped:
            maps = torch.stack([self.patches(x[:, :, i]) for i in range(x.shape[2])], dim=1)
        else:
            maps = rearrange(
                self.patches(rearrange(x, "n c t h w -> (n t) c h w")), "(n t) d h w -> n t d h w", n=len(x)
            )
        tokens = rearrange(maps, f"n t d h w -> n ({self.order}) d")
        first, last = (part.expand(len(x), -1, -1) for part in (self.first, self.last))
        tokens = self.norm(torch.cat([first, tokens, last], dim=1))
        return self.out((tokens + self.attend(tokens, tokens, tokens)[0]).mean(1))


def layout_of(model, x):
    calls = AttentionCalls(model, x.shape[2])
    with calls:
        model(x)
    return calls


@pytest.mark.parametrize("order", ["t h w", "h w t"])
@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_order_and_prefix_are_traced(order, looped, prefix):
    torch.manual_seed(0)
    model = Ordered(order, prefix, looped=looped).eval().requires_grad_(False)
    assert layout_of(model, torch.rand(1, 3, 5, 14, 12)).layout == TokenLayout(prefix, (5, 2, 2), order)


@pytest.mark.parametrize("order", ["t w h", "w h t"])
def test_an_order_that_is_neither_is_not_guessed(order):
    model = Ordered(order).eval().requires_grad_(False)
    with pytest.raises(ExplainError, match="token_layout"):
        _ = layout_of(model, torch.rand(1, 3, 5, 14, 12)).layout


def test_tokens_at_the_end_are_not_guessed_but_can_be_told():
    model = Ordered("t h w", after=1).eval().requires_grad_(False)
    x = torch.rand(1, 3, 5, 14, 12)
    with pytest.raises(ExplainError, match="token_layout"):
        AttentionRollout()(model, x, Logit(0))
    model.token_layout = TokenLayout(1, (5, 2, 2))
    assert layout_of(model, x).layout == model.token_layout


@pytest.mark.parametrize(
    ("key", "layer", "cell"),
    [("transformer", "encoder.layers.0.norm1", (7, 6)), ("divided attention", "blocks.0.temporal_norm1", (7, 6))],
)
def test_a_changed_patch_is_where_the_map_says(key, layer, cell):
    model, x = made(CLIP_MODELS[key]), torch.rand(1, 3, 5, 14, 12)
    changed = x.clone()
    changed[:, :, 3, : cell[0], cell[1] :] = 0
    moved = activation_maps(model, x, layer=layer) - activation_maps(model, changed, layer=layer)
    assert moved.abs().sum(1).gt(1e-5).nonzero().tolist() == [[3, 0, 1]]
