"""What every listed classifier must pass; the other detectors' checks are in test_reconstruction_settings.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidence.frames.clip import Clip
from vidence.models import DETECTORS, Detector, Session, load_detector
from vidence.models.reconstruction_detector import ReconstructionSettings
from vidence.record.facts import ClipRef
from vidence.spec import build

LINES = {
    "cnn-rnn": [
        "cnn-rnn(backbone='small', size=48, length=5, stride=2)",
        "cnn-rnn(backbone='small', size=48, rnn='lstm', bidirectional=True, differences='signed', norm='layer')",
        "cnn-rnn(backbone='small', size=48, length=5, rnn='none', features='gap', readout='mean')",
        "cnn-rnn(backbone='small', size=48, length=1, recipe='paper', units=16)",
        "cnn-rnn(backbone='small', size=48, length=5, features='flatten', units=8)",
        "cnn-rnn(backbone='small', size=48, features='flatten', pool='mean-max', projection=0)",
    ],
    "convlstm": ["convlstm(size=48, length=5, stride=2, units=4)", "convlstm(size=48, length=1, grid=4, units=4)"],
    "r3d-18": ["r3d-18(width=8, blocks=1, size=48, length=5)", "r3d-18(width=4, size=40, length=1, dropout=0.5)"],
    "r2plus1d-18": ["r2plus1d-18(width=8, blocks=1, size=48, length=4, fit='letterbox')"],
    "video-transformer": [
        "video-transformer(size=48, width=16, depth=2, length=5, stride=2)",
        "video-transformer(size=48, width=8, depth=1, heads=2, tubelet=1, length=4, attention='joint')",
    ],
    "i3d": ["i3d(width=8, size=48, length=9, stride=4)", "i3d(width=8, size=33, length=1)"],
}


def made(line: str) -> Any:
    torch.manual_seed(0)
    return build(line, DETECTORS).build(["calm", "fight", "fall"], normal=["calm"])


def clip(t: int) -> Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (t, 30, 40, 3), dtype=np.uint8)
    return Clip(ClipRef("a.mp4", "0" * 64, 0, tuple(0.1 * place for place in range(t))), pixels)


@pytest.mark.parametrize("key", DETECTORS)
def test_every_listed_detector_is_tested(key: str) -> None:
    own = Path(__file__).with_name(f"test_{key.replace('-', '_')}.py")  # of detectors that explain themselves
    if not issubclass(DETECTORS[key], ReconstructionSettings) and not own.is_file():
        assert all(line.startswith(key) for line in LINES[key])


@pytest.mark.parametrize("line", [line for lines in LINES.values() for line in lines])
class TestDetector:
    def test_it_is_one(self, line: str) -> None:
        detector = made(line)
        assert isinstance(detector, Detector)
        assert isinstance(detector.start(), Session)
        assert build(detector.spec, DETECTORS) == detector.settings

    def test_scores_are_finite_probabilities_one_a_frame(self, line: str) -> None:
        detector = made(line)
        shown = clip(detector.windows.length)
        scores = detector.start().push(shown)
        assert scores.times.tolist() == list(shown.times)
        assert scores.values.shape == scores.times.shape
        assert scores.values.dtype == np.float32
        assert ((scores.values > 0) & (scores.values < 1)).all()
        assert scores.probabilities.sum() == pytest.approx(1, abs=1e-5)

    def test_saved_and_loaded_it_scores_the_same(self, line: str, tmp_path: Any) -> None:
        detector = made(line)
        detector.save(tmp_path)
        loaded, shown = load_detector(tmp_path), clip(detector.windows.length)
        assert loaded.spec == detector.spec
        np.testing.assert_array_equal(loaded.start().push(shown).values, detector.start().push(shown).values)

    def test_a_batch_of_two_is_two_batches_of_one(self, line: str) -> None:
        detector = made(line)
        x = torch.rand(2, 3, detector.windows.length, 48, 48)
        both = detector.probabilities(x)
        one_by_one = torch.cat([detector.probabilities(x[:1]), detector.probabilities(x[1:])])
        torch.testing.assert_close(both, one_by_one, rtol=1e-4, atol=1e-6)

    def test_it_is_differentiable_in_x_and_looks_at_the_pixels(self, line: str) -> None:
        detector = made(line)
        x = detector.prepare(clip(detector.windows.length)).requires_grad_()
        (gradient,) = torch.autograd.grad(detector.network(x)[:, 1].sum(), x)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0

    def test_scoring_leaves_the_network_as_it_was(self, line: str) -> None:
        detector = made(line)
        detector.network.train()
        state = {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}
        detector.start().push(clip(detector.windows.length))
        assert detector.network.training
        assert all(torch.equal(tensor, state[name]) for name, tensor in detector.network.state_dict().items())
        assert all(parameter.grad is None for parameter in detector.network.parameters())
