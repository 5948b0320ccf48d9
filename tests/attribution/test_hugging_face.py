"""Hugging Face's video transformers, small and random, explained as they are."""

import copy

import pytest
import torch

from vidence.attribution import EXPLAINERS
from vidence.attribution.activation import activation_maps
from vidence.attribution.families import family_of
from vidence.attribution.rollout import attentions
from vidence.models.adapted import Adapted
from vidence.scoring.scores import Logit
from vidence.testing import check_explainer

transformers = pytest.importorskip("transformers")

SMALL = {
    "num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 32, "num_labels": 3,
    "initializer_range": 0.3, "image_size": 16, "num_frames": 6,
}  # fmt: skip
MODELS = {
    "videomae": ("VideoMAE", {"patch_size": 8, "tubelet_size": 2, "attn_implementation": "sdpa"}),
    "videomae, eager": ("VideoMAE", {"patch_size": 8, "tubelet_size": 2, "attn_implementation": "eager"}),
    "timesformer": ("Timesformer", {"patch_size": 8}),
    "timesformer, joint": ("Timesformer", {"patch_size": 8, "attention_type": "joint_space_time"}),
    "vivit": ("Vivit", {"tubelet_size": [2, 8, 8]}),
}
FIRST_NORM = {"videomae": "layer.0.layernorm_before", "timesformer": "layer.0.temporal_layernorm"}


def made(key):
    torch.manual_seed(0)
    name, how = MODELS[key]
    config = getattr(transformers, f"{name}Config")(**SMALL, **how)
    model = getattr(transformers, f"{name}ForVideoClassification")(config)
    return Adapted(model, layout="n t c h w", keyword="pixel_values", pick="logits", mean=0.5, std=0.5)


KEYS = [
    "attention-map",
    "attention-rollout",
    "cdam",
    "grad-cam",
    "integrated-cdam",
    "smooth-cdam",
    "transformer-relevance",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", MODELS)
def test_explained_as_they_are(name, key):
    model = made(name)
    config = copy.deepcopy(model.model.config.to_dict())
    attending = model.model.config._attn_implementation
    check_explainer(EXPLAINERS[key].quick(), model, torch.rand(2, 3, 6, 16, 16), class_specific="attention" not in key)
    assert model.model.config.to_dict() == config
    assert model.model.config._attn_implementation == attending
    assert family_of(model) == "transformer"


@pytest.mark.parametrize("name", MODELS)
def test_maps_show_the_patch_that_changed(name):
    """TimeSformer counts places first and frames second, the others frames first: traced, not assumed."""
    model, x = made(name), torch.rand(1, 3, 6, 16, 16)
    layer = "layers.0.layernorm_before" if name == "vivit" else FIRST_NORM.get(name.split(",")[0])
    layer = "layer.0.layernorm_before" if name == "timesformer, joint" else layer
    changed = x.clone()
    changed[:, :, 4, :8, 8:] = 0
    moved = activation_maps(model, x, layer=layer) - activation_maps(model, changed, layer=layer)
    frame = 4 if "timesformer" in name else 2
    assert moved.abs().sum(1).gt(1e-5).nonzero().tolist() == [[frame, 0, 1]]


def test_fused_and_eager_attention_have_the_same_weights():
    fused, eager = made("videomae"), made("videomae, eager")
    eager.load_state_dict(fused.state_dict())
    x = torch.rand(1, 3, 6, 16, 16)
    for one, other in zip(attentions(fused.eval(), x, "mean")[0], attentions(eager.eval(), x, "mean")[0], strict=True):
        torch.testing.assert_close(one.weights, other.weights)
    with torch.no_grad():
        asked = eager.model(pixel_values=eager.spoken(x), output_attentions=True).attentions
    torch.testing.assert_close(attentions(fused, x, "mean")[0][1].weights, asked[1].mean(1))


def test_windowed_attention_has_a_cdam_on_its_coarser_grid():
    torch.manual_seed(0)
    config = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[1, 2], num_heads=[2, 2], window_size=4, num_labels=3,
        initializer_range=0.3,
    )  # fmt: skip
    model = Adapted(transformers.SwinForImageClassification(config), layout="n c h w", pick="logits")
    x = torch.rand(2, 3, 1, 32, 32)
    found = EXPLAINERS["cdam"]().attribute(model, x, Logit(0))
    assert found.values.shape == (2, 1, 8, 8)
    check_explainer(EXPLAINERS["smooth-cdam"].quick(), model, x)
    for key in ("attention-rollout", "transformer-relevance", "attention-map"):
        with pytest.raises(ValueError, match="Take cdam"):
            EXPLAINERS[key]()(model, x, Logit(0))
