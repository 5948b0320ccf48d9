"""CDAM and its smooth and integrated forms, in closed form where the read-out is linear."""

import numpy as np
import pytest
import safetensors.numpy
import torch
from einops import rearrange
from torch import nn

from vidence.attribution.cdam import CDAM, IntegratedCDAM, SmoothCDAM
from vidence.attribution.concept import Latent, concept_of
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes
from zoo import CLIP_MODELS, Folded, made

CLIP = torch.rand(1, 3, 5, 14, 12, generator=torch.Generator().manual_seed(0))
FAMILY = {"cdam": CDAM, "smooth-cdam": SmoothCDAM, "integrated-cdam": IntegratedCDAM}


class ReadOut(nn.Module):
    """Attention, a norm called `last`, and the mean over tokens of a function of them."""

    def __init__(self, function=lambda tokens: tokens, sequence_first=False):
        super().__init__()
        self.patches, self.attend = nn.Conv3d(3, 6, (1, 7, 6), (1, 7, 6)), nn.MultiheadAttention(6, 2)
        self.last, self.out = nn.LayerNorm(6), nn.Linear(6, 3, bias=False)
        self.function, self.sequence_first = function, sequence_first

    def forward(self, x):
        tokens = rearrange(self.patches(x), "n d t h w -> (t h w) n d")
        tokens = tokens + self.attend(tokens, tokens, tokens)[0]
        tokens = self.last(tokens if self.sequence_first else tokens.transpose(0, 1))
        return self.out(self.function(tokens)).mean(0 if self.sequence_first else 1)


def read_out(**how):
    torch.manual_seed(0)
    return ReadOut(**how).eval()


@pytest.mark.parametrize("explainer", [CDAM(layer="last"), SmoothCDAM(layer="last"), IntegratedCDAM(layer="last")])
@pytest.mark.parametrize("sequence_first", [False, True])
def test_of_a_linear_read_out_it_sums_to_the_score(explainer, sequence_first):
    model = read_out(sequence_first=sequence_first)
    found = explainer.attribute(model, CLIP, Logit(1), certify=False)
    tolerance = 0.05 if isinstance(explainer, SmoothCDAM) else 1e-5
    assert float(found.values.sum()) == pytest.approx(float(model(CLIP)[0, 1].detach()), abs=tolerance)
    tokens = []
    model.last.register_forward_hook(lambda module, args, output: tokens.append(output))
    model(CLIP)
    placed = tokens[0][:, 0] if sequence_first else tokens[0][0]
    expected = (placed * model.out.weight[1]).sum(-1).reshape(1, 5, 2, 2) / 20
    torch.testing.assert_close(found.values, expected.detach(), atol=0.05 * expected.abs().max().item(), rtol=0.2)
    assert found.raw.shape == (1, 5, 6, 2, 2)


def test_the_integral_of_a_square_is_exact_with_midpoints_and_its_gap_small():
    model = read_out(function=lambda tokens: tokens.square())
    found = IntegratedCDAM(layer="last").attribute(model, CLIP, Logit(1), certify=False)
    assert float(found.values.sum()) == pytest.approx(float(model(CLIP)[0, 1].detach()), abs=1e-4)
    assert abs(float(found.gap)) < 1e-4
    assert found.certificate.gap < 1e-3
    assert not found.certificate.flags
    twice = CDAM(layer="last").attribute(model, CLIP, Logit(1), certify=False)
    torch.testing.assert_close(twice.values, 2 * found.values, atol=1e-5, rtol=1e-4)  # a square counts twice there


def test_a_gap_is_told():
    model = read_out(function=lambda tokens: (20 * tokens).sigmoid())
    found = IntegratedCDAM(layer="last", steps=1).attribute(model, CLIP, Logit(1), certify=False)
    assert found.certificate.gap > 0.01
    assert "more steps" in found.certificate.flags[0]


def test_it_is_token_times_gradient_at_the_norm_before_the_last_attention():
    model = made(CLIP_MODELS["divided attention"]).eval()
    kept = []

    def keep(module, args, output):
        kept.append(output)

    handle = model.transformer.blocks[1].norm1.register_forward_hook(keep)
    score = model(CLIP)[0, 0]
    handle.remove()
    tokens = kept[0]  # (frames, class token and places, d)
    product = tokens * torch.autograd.grad(score, tokens)[0]
    found = CDAM().attribute(model, CLIP, Logit(0), certify=False)
    torch.testing.assert_close(found.values, product[:, 1:].sum(-1).reshape(1, 5, 2, 2).detach(), atol=1e-5, rtol=1e-4)
    assert found.layer == "transformer.blocks.1.norm1"
    integrated = IntegratedCDAM(steps=200).attribute(model, CLIP, Logit(0), certify=False)
    assert integrated.certificate.gap < 0.01


@pytest.mark.parametrize("key", ["transformer", "divided attention"])
@pytest.mark.parametrize("explainer", [SmoothCDAM, IntegratedCDAM])
def test_chunks_change_nothing(key, explainer):
    model = made(CLIP_MODELS[key]).eval()
    whole = explainer().attribute(model, CLIP, Logit(0), certify=False)
    by_seven = explainer(chunk=7).attribute(model, CLIP, Logit(0), certify=False)
    torch.testing.assert_close(by_seven.values, whole.values, atol=1e-5, rtol=1e-5)


def test_noise_follows_the_seed_and_fades():
    model = made(CLIP_MODELS["transformer"]).eval()
    maps = [SmoothCDAM(n=4, seed=seed)(model, CLIP, Logit(0)) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])
    faint = SmoothCDAM(n=2, sigma=1e-5)(model, CLIP, Logit(0))
    torch.testing.assert_close(faint, CDAM()(model, CLIP, Logit(0)), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("key", FAMILY)
def test_prices(key):
    model, explainer = made(CLIP_MODELS["divided attention"]), FAMILY[key]()
    with counted_passes(model) as passes:
        explainer.attribute(model, CLIP, Logit(0), certify=False)
    price = explainer.price(5, 14, 12)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("key", FAMILY)
def test_the_concept_of_a_classs_weights_is_the_class(key, ending, tmp_path):
    model = made(CLIP_MODELS["divided attention"]).eval()
    file = tmp_path / f"concept.{ending}"
    vector = model.transformer.head.weight[1].detach().numpy()
    if ending == "safetensors":
        safetensors.numpy.save_file({"concept": vector}, file)
    else:
        (np.save if ending == "npy" else np.savez)(file, vector)
    of_class = FAMILY[key]()(model, CLIP, Logit(1))
    found = FAMILY[key](concept=str(file)).attribute(model, CLIP, Logit(0))
    torch.testing.assert_close(found.values, FAMILY[key]().attribute(model, CLIP, Logit(1)).values)
    assert of_class.shape == (1, 5, 14, 12)
    assert found.certificate.deletion_rank == pytest.approx(
        FAMILY[key]().attribute(model, CLIP, Logit(1)).certificate.deletion_rank
    )


def test_a_concept_is_the_mean_latent_of_clips():
    model, clips = made(CLIP_MODELS["transformer"]).eval(), torch.rand(3, 3, 5, 14, 12)
    latents = Latent(model)(clips)
    torch.testing.assert_close(model.out(latents), model(clips))
    torch.testing.assert_close(concept_of(model, clips), latents.mean(0).detach())
    assert model.out.weight.requires_grad


def test_files_that_hold_no_concept(tmp_path):
    model, file = made(CLIP_MODELS["transformer"]), tmp_path / "a.npy"
    for array in (np.zeros((2, 12)), np.full(12, np.nan)):
        np.save(file, array)
        with pytest.raises(SpecError, match="one finite vector"):
            CDAM(concept=str(file))(model, CLIP, Logit(0))
    file.write_text("no array")
    for name in (str(file), str(tmp_path / "none.npy"), str(tmp_path / "none.safetensors")):
        with pytest.raises(SpecError, match="readable"):
            CDAM(concept=name)(model, CLIP, Logit(0))
    np.save(file, np.zeros(5))
    with pytest.raises(ExplainError, match="as many values"):
        CDAM(concept=str(file))(model, CLIP, Logit(0))


def test_refusals():
    with pytest.raises(ExplainError, match="Take grad-cam or when-where"):
        CDAM()(made(Folded), CLIP, Logit(0))
    with pytest.raises(ExplainError, match="token"):
        CDAM(layer="patches")(made(CLIP_MODELS["transformer"]), CLIP, Logit(0))
    for build in (lambda: SmoothCDAM(n=0), lambda: SmoothCDAM(sigma=0), lambda: IntegratedCDAM(steps=0)):
        with pytest.raises(SpecError):
            build()


def test_a_layer_that_is_called_twice_cannot_be_altered():
    class Twice(ReadOut):
        def forward(self, x):
            tokens = self.last(rearrange(self.patches(x), "n d t h w -> (t h w) n d"))
            return self.out(self.last(tokens + self.attend(tokens, tokens, tokens)[0])).mean(0)

    torch.manual_seed(0)
    model = Twice().eval()
    with pytest.raises(ExplainError, match="2 times"):
        SmoothCDAM(layer="last")(model, CLIP, Logit(0))
    assert CDAM(layer="last")(model, CLIP, Logit(0)).any()
