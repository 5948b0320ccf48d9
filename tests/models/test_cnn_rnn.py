"""The CNN+RNN network and its detector: two functions, the paper's counts, streaming without double work."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vidence.errors import ShapeError, SpecError
from vidence.frames.clip import Clip
from vidence.models.backbones import BACKBONES
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.cnn_rnn import CnnRnn, CnnRnnNetwork
from vidence.models.evaluating import evaluating
from vidence.models.framewise import FRAMES_AT_ONCE
from vidence.models.mobilenet import MobileNetV2
from vidence.models.vgg import VGG19
from vidence.record.facts import ClipRef

CLASSES = ("normal", "fight", "fall")


def network(classes: int = 3, **settings: Any) -> CnnRnnNetwork:
    torch.manual_seed(0)
    given: dict[str, Any] = {"backbone": "small", "size": 32} | settings
    return CnnRnnNetwork(CnnRnn(**given).resolved(weights=False), classes).eval()


def detector(**settings: Any) -> ClassifierDetector:
    made = network(length=6, stride=3, **settings)
    given: dict[str, Any] = {"backbone": "small", "size": 32, "length": 6, "stride": 3} | settings
    return ClassifierDetector(CnnRnn(**given).resolved(weights=False), made, classes=CLASSES, normal=["normal"])


def clip(first: int = 0, t: int = 6, *, seed: int = 0) -> Clip:
    """Frames `first`, `first` + 1, ... of one random source at 5 frames per second."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 28, 3), dtype=np.uint8)[first : first + t]
    return Clip(ClipRef("a.mp4", "0" * 64, first, tuple(0.2 * place for place in range(first, first + t))), pixels)


def test_the_papers_network_has_the_papers_counts() -> None:
    paper = CnnRnnNetwork(CnnRnn(recipe="paper").resolved(weights=False), 2)
    assert isinstance(paper.backbone, VGG19)
    assert sum(parameter.numel() for parameter in paper.backbone.parameters()) == 20_024_384
    assert paper.head.rnn is not None
    assert sum(parameter.numel() for parameter in paper.head.rnn.parameters()) == 4_724_736
    dense = [layer.out_features for layer in paper.head.modules() if isinstance(layer, nn.Linear)]
    assert dense == [512, 256, 128, 2]


def test_flattened_vgg_features_make_the_gru_of_the_methods_text() -> None:
    with torch.device("meta"):
        settings = CnnRnn(recipe="paper", features="flatten").resolved(weights=False)
        flat = CnnRnnNetwork(settings, 2, backbone=VGG19())
    assert flat.head.rnn is not None
    assert sum(parameter.numel() for parameter in flat.head.rnn.parameters()) == 80_222_208


@pytest.mark.parametrize("features", ["gap", "spatial", "flatten"])
def test_encode_is_the_backbone_frame_by_frame(features: Any) -> None:
    model, x = network(features=features), torch.rand(2, 3, 3, 32, 32)
    expected = torch.zeros(2, 3, 64 * {"gap": 1, "spatial": 4, "flatten": 16}[features])
    with torch.no_grad():
        for row, video in enumerate(x):
            for t in range(3):
                maps = model.backbone(video[None, :, t])[0]  # (64, 4, 4)
                if features == "gap":
                    maps = maps.mean(dim=(1, 2))
                if features == "spatial":
                    quarters = [maps[:, i : i + 2, j : j + 2].mean(dim=(1, 2)) for i in (0, 2) for j in (0, 2)]
                    maps = torch.stack(quarters, dim=1)
                expected[row, t] = maps.flatten()
        encoded = model.encode(x)
        torch.testing.assert_close(encoded, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x), model.decide(encoded))


def test_without_gradients_frames_go_through_in_bounded_chunks() -> None:
    model, seen = network(), []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    x = torch.rand(1, 3, FRAMES_AT_ONCE * 2 + 1, 32, 32)
    with torch.no_grad():
        chunked = model.encode(x)
    assert seen == [FRAMES_AT_ONCE, FRAMES_AT_ONCE, 1]
    whole = model.encode(x)
    assert seen[3:] == [x.shape[2]]
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)


def test_bf16_is_near_and_float32_comes_out() -> None:
    model, x = network(), torch.rand(1, 3, 4, 32, 32)
    with torch.no_grad():
        exact, rounded = model.encode(x), model.encode(x, bf16=True)
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize(("backbone", "size"), [("vgg19", 65), ("mobilenet-v2", 65), ("small", 65)])
def test_flat_features_have_the_width_that_the_head_expects(backbone: str, size: int) -> None:
    model = network(backbone=backbone, size=size, features="flatten", rnn="none", projection=4)
    with torch.no_grad():
        assert model(torch.rand(1, 3, 1, size, size)).shape == (1, 3)


def test_flat_features_refuse_another_size() -> None:
    with pytest.raises(ShapeError, match="features='flatten' fixes the input's size"):
        network(features="flatten")(torch.rand(1, 3, 2, 48, 48))


@pytest.mark.parametrize("x", [torch.rand(3, 4, 32, 32), torch.rand(1, 4, 3, 32, 32), torch.zeros(1, 3, 0, 32, 32)])
def test_other_inputs_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"x must be float RGB \(n, 3, t, h, w\)"):
        network().encode(x)


def test_building_leaves_the_backbone_as_it_came() -> None:
    for training in (True, False):
        backbone = BACKBONES["small"]().train(training)
        before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
        CnnRnnNetwork(CnnRnn(backbone="small", size=32).resolved(weights=False), 2, backbone=backbone)
        assert backbone.training is training
        assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_a_network_needs_resolved_settings() -> None:
    with pytest.raises(SpecError, match="resolved"):
        CnnRnnNetwork(CnnRnn(), 2)


def test_evaluating_gives_every_module_its_own_mode_back_also_after_an_error() -> None:
    model = network()
    model.train()
    model.backbone.eval()
    before = [module.training for module in model.modules()]

    def stopped() -> None:
        with evaluating(model):
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert [module.training for module in model.modules()] == before
    assert torch.is_grad_enabled()


def test_the_anomaly_score_is_one_minus_the_normal_classes() -> None:
    made = detector()
    assert made.anomaly(torch.tensor([[0.5, 0.3, 0.2]])).tolist() == pytest.approx([0.5])
    two = ClassifierDetector(made.settings, made.network, classes=CLASSES, normal=["normal", "fall"])
    assert two.anomaly(torch.tensor([[0.5, 0.3, 0.2]])).tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(
    ("classes", "normal"),
    [(("a", "b"), ("c",)), (("a", "b"), ()), (("a", "a"), ("a",)), (("a",), ("a",))],
)
def test_classes_must_make_sense(classes: tuple[str, ...], normal: tuple[str, ...]) -> None:
    made = detector()
    with pytest.raises(SpecError, match="two or more different classes"):
        ClassifierDetector(made.settings, made.network, classes=classes, normal=normal)


def test_a_session_scores_overlapping_windows_as_fresh_ones_and_encodes_each_frame_once() -> None:
    made, seen = detector(), []
    made.network.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    session = made.start()
    streamed = [session.push(clip(first)) for first in (0, 3, 6)]
    assert seen == [6, 3, 3]
    for first, scores in zip((0, 3, 6), streamed, strict=True):
        fresh = made.probabilities(made.prepare(clip(first)))
        np.testing.assert_allclose(scores.probabilities, fresh[0].numpy(), rtol=1e-4)
        np.testing.assert_allclose(scores.values, 1 - float(fresh[0, 0]), rtol=1e-4)
        assert scores.times.tolist() == list(clip(first).times)
    assert len(session._seen) == 6  # type: ignore[attr-defined]


def test_a_session_takes_padded_windows_and_other_sources_for_what_they_are() -> None:
    made = detector()
    session, other = made.start(), clip(seed=1)
    session.push(clip())
    ref = ClipRef("b.mp4", "1" * 64, 0, other.times)
    alone = made.start().push(Clip(ref, other.pixels))
    np.testing.assert_array_equal(session.push(Clip(ref, other.pixels)).values, alone.values)
    last = clip(6, 3)
    padded = Clip(
        ClipRef("a.mp4", "0" * 64, 6, (*last.times, *last.times[-1:] * 3)),
        np.concatenate([last.pixels, last.pixels[-1:].repeat(3, axis=0)]),
    )
    fresh = made.probabilities(made.prepare(padded))
    np.testing.assert_allclose(made.start().push(padded).probabilities, fresh[0].numpy(), rtol=1e-4)


def test_the_windows_and_the_fit_follow_the_line() -> None:
    made = detector(rate=5.0, fit="letterbox")
    assert (made.windows.length, made.windows.stride, made.windows.rate) == (6, 3, 5.0)
    assert (made.fit.size, made.fit.mode) == (32, "letterbox")
    assert detector(rate=0.0).windows.rate is None


def test_build_takes_the_backbone_from_weights(shared_data: Any) -> None:
    made = CnnRnn(size=64).build(("nofight", "fight"), normal=["nofight"], weights=shared_data / "mobilenet_backbones")
    assert made.settings.backbone == "mobilenet-v2"
    assert isinstance(made.network.backbone, MobileNetV2)
    assert made.network.backbone.padding == "same"
    assert "classifier" not in " ".join(made.network.state_dict())
