"""What every listed detector with a reconstruction must pass; one tiny line a key, more where settings matter."""

from typing import Any

import numpy as np
import pytest
import torch

from vidence.errors import ShapeError
from vidence.frames.clip import Clip
from vidence.models import DETECTORS, Detector, Session, load_detector
from vidence.models.reconstruction import frame_errors, parts, scored_frames, shown
from vidence.models.reconstruction_detector import ReconstructionDetector, ReconstructionSettings
from vidence.pipeline import explain
from vidence.record.facts import ClipRef
from vidence.spec import build, line
from vidence.testing import assert_no_residue

KEYS = [key for key, made in DETECTORS.items() if issubclass(made, ReconstructionSettings)]
STACKED = "ensemble(of=[mean-frame(size=32), conv-ae(size=32, length=4)], rule='max', size=32, length=4, channels=1)"
PREDICTOR = "conv-recurrent(size=64, mode='seq2seq', seeds=2, horizon=2)"
# lines other than the default, which is `key(size=64)`
LINES: dict[str, list[str]] = {
    "random": ["random(size=32)", "random(size=32, channels=1, seed=3)"],
    "mean-frame": ["mean-frame(size=32)", "mean-frame(size=32, channels=1, score='ssim')"],
    "vae": ["vae(size=32, length=3, latent=8)", "vae(size=64, length=2, channels=1, score='centre-distance')"],
    "conv3d-ae": ["conv3d-ae(size=32, length=4)", "conv3d-ae(size=64, length=5, channels=1)"],
    "conv-ae": ["conv-ae(size=32, length=4)", "conv-ae(size=64, channels=3)"],
    "unet-predict": ["unet-predict(size=32, length=7, width=4)", "unet-predict(size=64, past=2, length=4, width=4)"],
    "convlstm-predict": ["convlstm-predict(size=32)", "convlstm-predict(size=64, length=4, horizon=1, channels=1)"],
    "ganomaly": ["ganomaly(size=32, length=3, latent=8)", "ganomaly(size=64, length=2, channels=1, score='ssim')"],
    "conv-recurrent": [
        "conv-recurrent(size=64, length=3, channels=1)",
        "conv-recurrent(size=64, length=3, cell='lstm', mode='bidirectional', decoder='recurrent', combine='concat')",
        "conv-recurrent(size=64, length=3, cell='rnn', two_heads=True, bias=True)",
        PREDICTOR,
    ],
    "embedding": [f"embedding(density='{each}', size=32, length=3, coreset=40)" for each in ("knn", "one-class-svm")],
    "cae": ["cae(size=80, length=3, residual=True, parallel=True)", "cae(size=32, plan='bcae1-text', channels=1)"],
    "bcae1": ["bcae1(size=80, length=3)"],
    "bcae2": ["bcae2(size=128, length=1, channels=1)"],
    "ks-cae": ["ks-cae(size=128, length=1, channels=1)"],
    "aa-cae": ["aa-cae(size=80, length=2)"],
    "se-cae": ["se-cae(size=80, length=2)"],
    "sa-cae": ["sa-cae(size=80, length=2)", "sa-cae(size=80, length=2, recipe='released')"],
    "ssa-cae": ["ssa-cae(size=80, length=2)"],
    "cae-all": ["cae-all(size=128, length=1)"],
    "ensemble": [
        "ensemble(of=[random(size=32), vae(size=32, length=3, latent=8)], size=32, length=3)",
        STACKED,
    ],
    "previous-frame": ["previous-frame(size=32, length=4)", "previous-frame(size=32, length=4, stride=1, channels=1)"],
}
ALL = [each for key in KEYS for each in LINES.get(key, [f"{key}(size=64)"])]
NO_GRADIENT = {"random"}  # documented: the score does not depend on x in a differentiable way
NO_GRAPH = {"embedding"}  # documented: scikit-learn has no gradients
# documented: they need several frames
NO_IMAGE = {"previous-frame", "conv-ae", "unet-predict", "convlstm-predict", PREDICTOR, STACKED}


def made(text: str) -> ReconstructionDetector:
    torch.manual_seed(0)
    detector = build(text, DETECTORS).build()
    if hasattr(detector.network, "learn"):
        detector.network.learn(torch.rand(20, 1, 3, 3, detector.settings.size, detector.settings.size))
    return detector


def clip(t: int, *, seed: int = 0) -> Clip:
    pixels = np.random.default_rng(seed).integers(0, 256, (t, 30, 40, 3), dtype=np.uint8)
    return Clip(ClipRef("a.mp4", "0" * 64, 0, tuple(0.1 * place for place in range(t))), pixels)


def key_of(text: str) -> str:
    return text.partition("(")[0]


@pytest.mark.parametrize("text", ALL)
class TestReconstructionSettings:
    def test_it_is_a_detector_and_its_line_gives_it_again(self, text: str) -> None:
        detector = made(text)
        assert isinstance(detector, Detector)
        assert isinstance(detector.start(), Session)
        assert build(line(detector.settings, DETECTORS), DETECTORS) == detector.settings

    def test_live_scores_are_finite_one_a_scored_frame(self, text: str) -> None:
        detector = made(text)
        shot = clip(detector.windows.length)
        scores = detector.start().push(shot)
        first = detector.network.first_frame
        assert scores.times.tolist() == list(shot.times)[first:]
        assert scores.values.shape == scores.times.shape
        assert scores.values.dtype == np.float32
        assert np.isfinite(scores.values).all()

    def test_what_is_reconstructed_has_the_shape_of_what_is_shown(self, text: str) -> None:
        detector = made(text)
        x = detector.prepare(clip(detector.windows.length))
        output = detector.network(x)
        for part in parts(output):
            assert part.x_hat.shape == shown(part, x).shape
        assert scored_frames(output)[0] == detector.network.first_frame
        penalty = detector.network.penalty(output, x)
        assert penalty.shape == ()
        assert penalty.isfinite()

    def test_a_batch_of_two_is_two_batches_of_one(self, text: str) -> None:
        detector = made(text)
        x = torch.cat([detector.prepare(clip(detector.windows.length, seed=seed)) for seed in (0, 1)])
        with torch.no_grad():
            both, *alone = (
                frame_errors(detector.network(each), each, detector.settings.score) for each in (x, x[:1], x[1:])
            )
        torch.testing.assert_close(both, torch.cat(alone), rtol=1e-4, atol=1e-4)

    def test_it_is_differentiable_in_x(self, text: str) -> None:
        detector = made(text)
        x = detector.prepare(clip(detector.windows.length)).requires_grad_()
        total = frame_errors(detector.network(x), x, detector.settings.score).sum()
        if key_of(text) in NO_GRAPH:
            assert not total.requires_grad
            return
        (gradient,) = torch.autograd.grad(total, x)
        assert gradient.isfinite().all()
        assert (gradient.abs().sum() > 0) != (key_of(text) in NO_GRADIENT)

    def test_training_reaches_every_parameter(self, text: str) -> None:
        detector = made(text)
        network = detector.network.train()
        x = torch.cat([detector.prepare(clip(detector.windows.length, seed=seed)) for seed in (0, 1)])
        output = network(x)
        wanted = [each for each in network.parameters() if each.requires_grad]
        if not wanted:
            return
        loss = sum((part.x_hat - shown(part, x)).square().mean() for part in parts(output))
        for gradient in torch.autograd.grad(loss + network.penalty(output, x), wanted):
            assert gradient.isfinite().all()
            assert gradient.abs().sum() > 0

    def test_saved_and_loaded_it_scores_the_same(self, text: str, tmp_path: Any) -> None:
        detector = made(text)
        detector.facts = {"calibration": {"low": 1.0, "high": 3.0}}
        detector.save(tmp_path)
        loaded, shot = load_detector(tmp_path), clip(detector.windows.length)
        assert loaded.spec == detector.spec
        assert loaded.weights_digest == detector.weights_digest
        np.testing.assert_array_equal(loaded.start().push(shot).values, detector.start().push(shot).values)

    def test_an_image_is_scored_or_refused(self, text: str) -> None:
        detector = made(text)
        if {key_of(text), text} & NO_IMAGE:
            with pytest.raises(ShapeError, match="frames"):
                detector.output(detector.prepare(clip(1)))
        if detector.network.first_frame:
            assert not len(detector.errors(clip(1)).values), "nothing of it is predicted"
        elif not {key_of(text), text} & NO_IMAGE:
            assert np.isfinite(detector.errors(clip(1)).values).all()

    def test_its_default_explanation_is_finite_and_leaves_nothing(self, text: str) -> None:
        detector = made(text)
        shot = clip(detector.windows.length)
        with assert_no_residue(detector.network):
            found = explain(detector, shot)
        assert found.values.shape[:2] == (1, len(shot.times))
        assert found.values.isfinite().all()

    def test_scoring_leaves_the_network_as_it_was(self, text: str) -> None:
        detector = made(text)
        detector.network.train()
        with assert_no_residue(detector.network):
            detector.start().push(clip(detector.windows.length))
        assert detector.network.training
