"""Ravi's autoencoders: parameter counts to the last one, sizes, codes, masks, what cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vidence.errors import ShapeError, SpecError, WeightsError
from vidence.frames.clip import Clip
from vidence.models import DETECTORS
from vidence.models.asymmetric import AsymmetricBlock
from vidence.models.autoencoder import Cae, CaeNetwork
from vidence.models.detector_folder import state_digest
from vidence.models.plans import PLANS
from vidence.record.facts import ClipRef
from vidence.spec import build

# as published or counted in the released code (methods C.2 to C.5); the rest are ours, here so that a change is seen
COUNTS = {
    "bcae1": 652_841,
    "bcae1(channels=1)": 650_531,
    "bcae2": 11_269_407,
    "bcae2(channels=1)": 11_267_741,
    "ks-cae": 4_963_967,
    "ks-cae(channels=1)": 4_961_533,
    "cae(kernel='acb')": 994_409,
    "se-cae": 658_217,
    "sa-cae": 659_442,
    "ssa-cae": 659_442,
    "aa-cae": 684_993,
    "cae-all": 1_325_010,
    "cae(plan='bcae1-text')": 429_417,
}
CODES = {"bcae1": 1536, "bcae2": 300, "ks-cae": 300, "aa-cae": 2048, "cae(plan='bcae1-text')": 1536, "cae-all": 1536}
SIDES = {
    "bcae1": [63, 31, 15, 7, 4, 7, 15, 31, 64, 130, 128],
    "bcae1 acb": [64, 32, 16, 8, 4, 7, 15, 31, 63, 130, 128],
    "bcae1 aa": [64, 32, 16, 8, 4, 7, 15, 31, 64, 130, 128],
    "bcae1-text": [64, 32, 16, 8, 4, 8, 16, 32, 64, 128],
    "bcae2": [63, 31, 9, 3, 1, 3, 9, 29, 61, 125, 128],
    "ks": [64, 32, 11, 4, 1, 3, 9, 29, 61, 125, 128],
}


def network(line: str) -> CaeNetwork:
    torch.manual_seed(0)
    made: CaeNetwork = build(line, DETECTORS).network()
    return made


@pytest.mark.parametrize(("line", "count"), COUNTS.items())
def test_parameters_are_as_many_as_published(line: str, count: int) -> None:
    with torch.device("meta"):
        made = build(line, DETECTORS).network()
    assert sum(each.numel() for each in made.parameters()) == count


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_has_the_sides_of_the_released_code(name: str) -> None:
    layers = (*PLANS[name].encoder, *PLANS[name].decoder)
    sides = [128]
    for layer in layers:
        sides.append(layer.side(sides[-1]))
        kind = nn.ConvTranspose2d if layer.transposed else nn.Conv2d
        more = {"output_padding": layer.output_padding} if layer.transposed else {}
        made = kind(1, 1, layer.kernel, layer.stride, layer.padding, **more)
        assert made(torch.zeros(1, 1, sides[-2], sides[-2])).shape[-1] == sides[-1]
    assert sides[1:] == SIDES[name]


@pytest.mark.parametrize(("line", "width"), CODES.items())
def test_a_frame_has_a_code_and_comes_back_at_its_size(line: str, width: int) -> None:
    made = network(line).eval()
    x = torch.rand(1, 3, 2, 128, 128)
    with torch.no_grad():
        output = made(x)
        assert output.x_hat.shape == x.shape
        assert output.code.shape == (1, 2, width)
        torch.testing.assert_close(made.embed(x), output.code)
    assert 0 <= output.x_hat.min() <= output.x_hat.max() <= 1


@pytest.mark.parametrize("line", ["bcae1", "ks-cae", "sa-cae"])
def test_frames_of_a_size_that_does_not_come_back_are_refused(line: str) -> None:
    made = network(line)
    for call in (made, made.embed):
        with pytest.raises(ShapeError, match=r"128.*got \(128, 100\)"):
            call(torch.rand(1, 3, 2, 128, 100))


def test_frames_do_not_see_each_other_and_gray_is_luma() -> None:
    made = network("bcae1(channels=1, size=80)").eval()
    x = torch.rand(2, 3, 3, 80, 80)
    with torch.no_grad():
        together = made(x)
        alone = made(x[1:, :, 2:])
        gray = made((x * torch.tensor([0.299, 0.587, 0.114])[:, None, None, None]).sum(1, keepdim=True))
    torch.testing.assert_close(together.x_hat[1:, :, 2:], alone.x_hat, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.code[1, 2], alone.code[0, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gray.x_hat, together.x_hat, rtol=1e-4, atol=1e-5)


def test_the_encoder_is_one_child_a_layer() -> None:
    for line in ("bcae1(size=80)", "cae-all", "aa-cae(size=80)", "cae(size=80, parallel=True, residual=True)"):
        made = network(line)
        assert len(made.encoder) == 5
        assert all(list(child.parameters()) for child in made.encoder)


def test_squeeze_and_excitation_stand_where_the_release_has_them() -> None:
    made = network("se-cae(size=80)")
    ends = [type(layer[-1]).__name__ == "SqueezeExcitation" for part in (made.encoder, made.decoder) for layer in part]
    assert ends == [True] * 4 + [False] + [True] * 4 + [False] * 2


@pytest.mark.parametrize("recipe", ["corrected", "thesis", "released"])
def test_the_penalty_of_sa_is_the_norm_of_a_frames_mask_and_as_released_of_all(recipe: str) -> None:
    made = network(f"sa-cae(size=80, mask_weight=0.5, recipe='{recipe}')").eval()
    x = torch.rand(2, 3, 2, 80, 80)
    seen: list[torch.Tensor] = []
    made.mask.register_forward_hook(lambda module, args, output: seen.append(output[1]))
    with torch.no_grad():
        output = made(x)
        norms = [mask.square().sum().sqrt() for mask in seen[0]]  # of all pixels and channels of a frame
        expected = seen[0].square().sum().sqrt() if recipe == "released" else torch.stack(norms).mean()
        torch.testing.assert_close(made.penalty(output, x), 0.5 * expected)
        assert network("ssa-cae(size=80, mask_weight=0.5)").eval().penalty(output, x) == 0
    assert output.attention.shape == (2, 2, 80, 80)


def test_what_a_softmax_mask_leaves_survives_bfloat16() -> None:
    """Values near 1 / (h w) beside a bias would be rounded away: frames would look alike to the encoder."""
    made = network("ssa-cae(size=80)").train()
    nn.init.constant_(made.mask.norm.weight, 0.01)  # a mask that is nearly even
    x = torch.rand(2, 3, 4, 80, 80)
    with torch.no_grad():
        exact = made(x).code
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = made(x).code
    apart = (exact - exact.mean(dim=1, keepdim=True)).std()
    assert (rough.float() - exact).square().mean().sqrt() < 0.2 * apart


def test_parallel_kernels_share_the_filters_and_residuals_add() -> None:
    plain, both = network("bcae1(size=80)").eval(), network("cae(size=80, parallel=True, residual=True)").eval()
    x = torch.rand(1, 3, 1, 80, 80)
    assert both.embed(x).shape == plain.embed(x).shape
    first = both.encoder[0]
    assert [way[0].kernel_size for way in first[0].ways] == [(3, 3), (5, 5)]
    with torch.no_grad():
        y = torch.randn(2, 64, 5, 5)
        before = y.clone()
        wanted = nn.functional.leaky_relu(before + first[2].inner(before), 0.01)
        torch.testing.assert_close(first[2](y), wanted)


def test_kernel_variant_and_place_reach_the_blocks() -> None:
    blocks = [each for each in network("ks-cae").modules() if isinstance(each, AsymmetricBlock)]
    assert [len(each.norms) for each in blocks] == [0] + [3] * 8
    assert {each.horizontal.at for each in blocks} == {1, 2}
    summed = network("ks-cae(variant='sum', centre=False)")
    blocks = [each for each in summed.decoder.modules() if isinstance(each, AsymmetricBlock)]
    assert {len(each.norms) for each in blocks} == {1}
    assert {each.vertical.at for each in blocks} == {0}


def test_a_deployed_detector_scores_the_same_as_itself_and_is_not_saved(tmp_path: Path) -> None:
    detector = build("cae-all(length=1)", DETECTORS).build()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
    clip = Clip(ClipRef("a.mp4", "0" * 64, 0, (0.0,)), pixels)
    detector.facts, detector.threshold = {"calibration": {"low": 1.0, "high": 2.0}}, {"value": 1.0}
    detector.precision = "bf16"
    quick = detector.deployed()
    assert (quick.facts, quick.threshold, quick.precision) == (detector.facts, detector.threshold, "bf16")
    assert (quick.spec, quick.weights_digest) == (detector.spec, detector.weights_digest)
    assert quick.weights_digest != state_digest(quick.network)
    detector.precision = quick.precision = "float32"
    np.testing.assert_allclose(quick.errors(clip).values, detector.errors(clip).values, rtol=1e-5)
    assert not any(isinstance(each, AsymmetricBlock) for each in quick.network.modules())
    assert any(isinstance(each, AsymmetricBlock) for each in detector.network.modules())
    assert quick.deployed() is quick
    with pytest.raises(WeightsError, match="deployed from"):
        quick.save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"plan": "bcae3"}, "plan"),
        ({"kernel": "round"}, "kernel"),
        ({"variant": "both"}, "variant"),
        ({"attention": "more"}, "attention"),
        ({"attention": "aa", "kernel": "acb"}, "aa"),
        ({"mask_weight": -1.0}, "mask_weight"),
        ({"size": 100}, r"80, 96, 112, 128"),
        ({"size": 64, "plan": "ks"}, r"\(128, 176"),
        ({"size": 16}, "size"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        Cae(**settings)
