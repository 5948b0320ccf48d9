"""The video transformer: what mixes with what, its names and the lengths it takes."""

import pytest
import torch
from einops import rearrange

from vidence.errors import ShapeError, SpecError
from vidence.models.transformer import VideoTransformer

TINY = {"size": 32, "patch": 16, "width": 12, "depth": 2, "heads": 3, "length": 6}


def made(**settings):
    torch.manual_seed(0)
    return VideoTransformer(**{**TINY, **settings}).network(3).eval()


def test_names_are_those_of_vision_transformers():
    names = set(made().state_dict())
    assert {"patch_embed.proj.weight", "cls_token", "pos_embed", "time_embed", "norm.weight", "head.bias"} <= names
    assert {
        "blocks.1.temporal_norm1.weight", "blocks.1.temporal_attn.qkv.weight", "blocks.1.norm1.weight",
        "blocks.1.attn.proj.bias", "blocks.1.norm2.bias", "blocks.1.mlp.fc1.weight", "blocks.1.mlp.fc2.bias",
    } <= names  # fmt: skip
    assert not any("temporal" in name for name in made(attention="joint").state_dict())


def test_time_attention_mixes_a_place_and_space_attention_a_frame():
    block = made().blocks[0]
    tokens = torch.rand(1, 1 + 3 * 4, 12)
    changed = tokens.clone()
    changed[0, 1 + 1 * 4 + 2] += torch.rand(12)  # the second group of frames, third place
    over_time = (block._over_time(changed, 3) - block._over_time(tokens, 3)).abs().sum(2)[0]
    assert over_time.gt(1e-6).nonzero()[:, 0].tolist() == [1 + 2, 1 + 4 + 2, 1 + 8 + 2]
    over_space = (block._over_space(changed, 3) - block._over_space(tokens, 3)).abs().sum(2)[0]
    assert over_space.gt(1e-6).nonzero()[:, 0].tolist() == [0, *range(1 + 4, 1 + 8)]


def test_joint_attention_is_attention_over_all_tokens():
    block = made(attention="joint").blocks[0]
    tokens = torch.rand(2, 13, 12)
    q, k, v = rearrange(block.attn.qkv(block.norm1(tokens)), "n l (p h d) -> p n h l d", p=3, h=3)
    weights = (q @ k.transpose(-1, -2) / 2).softmax(-1)  # sqrt of 4 values a head
    mixed = block.attn.proj(rearrange(weights @ v, "n h l d -> n l (h d)"))
    middle = tokens + mixed
    expected = middle + block.mlp.fc2(torch.nn.functional.gelu(block.mlp.fc1(block.norm2(middle))))
    torch.testing.assert_close(block(tokens, 3), expected)


@pytest.mark.parametrize("attention", ["divided", "joint"])
def test_any_number_of_frames_and_the_order_of_frames_counts(attention):
    network = made(attention=attention)
    for t in (1, 5, 6, 9):
        assert network(torch.rand(2, 3, t, 32, 32)).shape == (2, 3)
    x = torch.rand(1, 3, 6, 32, 32)
    torch.testing.assert_close(network(x[:, :, :5]), network(torch.cat([x[:, :, :5], x[:, :, 4:5]], dim=2)))
    assert (network(x) - network(x.flip(2))).abs().max() > 1e-5


def test_another_size_is_refused():
    with pytest.raises(ShapeError, match="32, 32"):
        made()(torch.rand(1, 3, 6, 48, 48))


@pytest.mark.parametrize(
    "settings",
    [
        {"patch": 7}, {"heads": 5}, {"attention": "windowed"}, {"frozen": True}, {"depth": 0}, {"tubelet": 1.5},
        {"dropout": 2.0},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(settings):
    with pytest.raises(SpecError):
        made(**settings)


def test_there_are_no_weights_from_elsewhere():
    with pytest.raises(SpecError, match="starts at random"):
        VideoTransformer(**TINY).network(3, weights="a.pth")
