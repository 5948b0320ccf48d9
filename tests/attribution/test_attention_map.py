"""The last attention as a picture."""

import pytest
import torch

from vidence.attribution.attention_map import AttentionMap
from vidence.attribution.eigen_cam import ANY_SCORE
from vidence.attribution.rollout import attentions
from vidence.errors import SpecError
from vidence.scoring.scores import Logit
from zoo import CLIP_MODELS, made


def test_the_class_tokens_row_of_every_frame_with_equal_weight():
    model, x = made(CLIP_MODELS["divided attention"]).eval(), torch.rand(1, 3, 5, 14, 12)
    last = attentions(model, x, "mean")[0][-1]
    found = AttentionMap().attribute(model, x, Logit(0), certify=False)
    torch.testing.assert_close(found.raw[0], last.weights[:, 0, 1:].reshape(5, 2, 2) / 5)
    assert found.layer == last.layer == "transformer.blocks.1.attn"
    assert ANY_SCORE in found.certificate.flags


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
def test_the_mean_row_without_a_class_token(heads):
    model, x = made(CLIP_MODELS["transformer"]).eval(), torch.rand(1, 3, 5, 14, 12)
    last = attentions(model, x, heads)[0][-1]
    found = AttentionMap(heads).attribute(model, x, Logit(0), certify=False)
    torch.testing.assert_close(found.raw[0], last.weights[0].mean(0).reshape(5, 2, 2))


def test_an_unknown_fusion():
    with pytest.raises(SpecError, match="heads"):
        AttentionMap("sum")
