"""The 3-D classifiers: settings, weights from elsewhere, freezing, explanations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from vidence import spec
from vidence.errors import SpecError, WeightsError
from vidence.frames.clip import Clip
from vidence.models import DETECTORS, I3D, R3D18, R2Plus1D18
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.volume_classifier import VolumeSettings
from vidence.models.weights import load_weights
from vidence.pipeline import explain
from vidence.record.facts import ClipRef
from vidence.training.freezing import freeze, learned, set_mode, stages, trunk

TINY = {
    "r3d-18": "r3d-18(width=8, blocks=1, size=32, length=8, stride=4)",
    "r2plus1d-18": "r2plus1d-18(width=8, blocks=1, size=32, length=8, stride=4)",
    "i3d": "i3d(width=8, size=32, length=8, stride=4)",
}
LAST = {"r3d-18": "layer4", "r2plus1d-18": "layer4", "i3d": "Mixed_5c"}


def built(key: str) -> ClassifierDetector:
    torch.manual_seed(0)
    return spec.build(TINY[key], DETECTORS).build(("fight", "normal"), normal=("normal",))


def clip(first: int, t: int) -> Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 28, 3), dtype=np.uint8)[first : first + t]
    return Clip(ClipRef("a.mp4", "0" * 64, first, tuple(0.2 * place for place in range(first, first + t))), pixels)


@pytest.mark.parametrize(
    ("settings", "expected"), [(R3D18(), (16, 112)), (R2Plus1D18(), (16, 112)), (I3D(), (16, 224))]
)
def test_defaults_are_the_published_inputs(settings: VolumeSettings, expected: tuple[int, int]) -> None:
    assert (settings.length, settings.size) == expected
    assert settings.resolved(weights=False) is settings
    assert spec.line(settings, DETECTORS) == settings.key


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r3d-18(blocks=0)", "blocks must be 1 or more"),
        ("i3d(width=0)", "width must lie between 1 and"),
        ("r2plus1d-18(dropout=1.5)", "dropout must lie between 0 and"),
        ("i3d(blocks=1)", "has no setting 'blocks'"),
    ],
)
def test_settings_that_cannot_be_are_refused(line: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec.build(line, DETECTORS)


@pytest.mark.parametrize("key", TINY)
def test_each_window_is_scored_on_its_own(key: str) -> None:
    detector = built(key)
    session = detector.start()
    alone = detector.start().push(clip(4, 8))
    session.push(clip(0, 8))
    np.testing.assert_array_equal(session.push(clip(4, 8)).values, alone.values)
    with torch.no_grad():
        expected = 1 - detector.network(detector.prepare(clip(4, 8))).softmax(dim=1)[0, 1]
    assert alone.values[0] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("key", TINY)
def test_the_trunk_starts_from_a_file_and_the_logits_do_not(key: str, tmp_path: Path) -> None:
    """A file of other classes than ours; its names are the published ones."""
    torch.manual_seed(7)
    other = built(key).settings.restored(5, {})
    safetensors.torch.save_file(other.state_dict(), tmp_path / "kinetics.safetensors")
    settings = spec.build(TINY[key], DETECTORS)
    with pytest.raises(WeightsError, match=r"kinetics.safetensors must be torch.float32 \(64,|of this network"):
        load_weights(key, tmp_path / "kinetics.safetensors")  # which is of the published width
    with pytest.MonkeyPatch.context() as patch:
        from vidence.models import weights

        patch.setitem(weights.KNOWN, key, lambda classes=400: settings.restored(classes, {}))
        network = settings.network(2, weights=tmp_path / "kinetics.safetensors")
    state, given = network.state_dict(), other.state_dict()
    head = [name for name in state if name.startswith(network.head)]
    assert {len(state[name]) for name in head} == {2}
    assert all(torch.equal(state[name], given[name]) for name in state if name not in head)


@pytest.mark.parametrize("key", TINY)
def test_frozen_but_the_last_layer_learns(key: str) -> None:
    network: Any = built(key).network
    freeze(network, 0)
    set_mode(network)
    head = {name for name, _ in network.named_parameters() if name.startswith(network.head)}
    assert {name for name, each in network.named_parameters() if each.requires_grad} == head
    assert set(learned(network)) == head  # no batch norm drifts
    freeze(network, 1)
    last = trunk(network)[1][-1]
    assert last is stages(network)[-2]
    assert last is network.get_submodule(LAST[key])
    assert all(each.requires_grad for each in last.parameters())


@pytest.mark.parametrize("key", TINY)
@pytest.mark.parametrize("line", ["grad-cam(layer='{}')", "gradient"])
def test_explanations_reach_them(key: str, line: str) -> None:
    detector = built(key)
    before = {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}
    found = explain(detector, clip(0, 8), explainer=line.format(LAST[key]), score="logit(class='fight')", certify=False)
    assert found.values.shape[:2] == (1, 8)
    assert found.values.isfinite().all()
    assert found.values.abs().sum() > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.network.state_dict().items())
