"""The mask of an input attention as an explainer."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from torch import Tensor

from vidence.attribution.eigen_cam import ANY_SCORE
from vidence.attribution.input_attention import InputAttentionMask
from vidence.errors import ExplainError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.models.soft_attention import InputAttention
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import check_explainer, counted_passes
from zoo import Autoencoder, Folded, made

X = torch.rand(2, 3, 4, 14, 12, generator=torch.Generator().manual_seed(0))


class Attentive(ReconstructionNetwork):
    """Its reconstruction is what the mask lets through, of all frames but the first."""

    first_frame = 1

    def __init__(self) -> None:
        super().__init__()
        self.attention = InputAttention(3)

    def forward(self, x: Tensor) -> Reconstruction:
        weighed, mask = self.attention(rearrange(x[:, :, 1:], "n c t h w -> (n t) c h w"))
        x_hat, shown = (rearrange(each, "(n t) c h w -> n c t h w", n=len(x)) for each in (weighed, mask))
        return Reconstruction(x_hat, first_frame=1, attention=shown.mean(dim=1))


def test_it_is_the_mask_in_its_frames_whatever_the_score() -> None:
    model = made(Attentive).eval()
    found = InputAttentionMask().attribute(model, X, SquaredError())
    expected = model(X).attention
    assert not found.values[:, 0].any()
    assert ANY_SCORE in found.certificate.flags
    torch.testing.assert_close(found.values[:, 1:], expected)
    torch.testing.assert_close(found.extra["score"], SquaredError()(model(X), X))
    assert torch.equal(found.values, InputAttentionMask().attribute(model, X, SquaredError(frame=2)).values)


def test_it_is_an_explainer_like_any_other() -> None:
    check_explainer(
        InputAttentionMask(), made(Attentive), X, (SquaredError(), SquaredError(frame=2)), class_specific=False
    )
    model = made(Attentive)
    with counted_passes(model) as passes:
        InputAttentionMask().attribute(model, X[:1], SquaredError(), certify=False)
    assert passes.forwards == InputAttentionMask().price(4, 14, 12).forwards


def test_networks_without_one_are_refused() -> None:
    with pytest.raises(ExplainError, match="recurrent"):
        InputAttentionMask().attribute(made(Folded), X, Logit(0))
    with pytest.raises(ExplainError, match="this one has none"):
        InputAttentionMask().attribute(made(Autoencoder), X, SquaredError())
