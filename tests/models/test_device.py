"""Where networks compute: what may be asked for, and that nothing is left behind on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elsewhere import elsewhere
from vidence.cli.options import device_option
from vidence.errors import SpecError
from vidence.frames.clip import Clip
from vidence.models import DETECTORS, MotionAttributes
from vidence.models.detector import load_deployed, load_detector
from vidence.models.detector_folder import state_digest
from vidence.models.device import CPU, DEVICES, device_of, native_bf16, place_of
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.record.facts import ClipRef

GPU = torch.device("cuda")


def pretend(monkeypatch: pytest.MonkeyPatch, *, native: bool) -> None:
    """A GPU, as far as can be asked; emulated bf16 is what torch says of by default."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == CPU
    for asked in (lambda: device_of("cuda"), lambda: load_detector(tmp_path, device="cuda")):
        with pytest.raises(SpecError, match="cuda must be a GPU that PyTorch can use; there is none"):
            asked()
    with pytest.raises(SpecError, match="one of auto, cpu, cuda; got 'cuda:1'"):
        device_of("cuda:1")


def test_with_a_gpu_only_cpu_is_not_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, native=True)
    assert [device_of(asked) for asked in DEVICES] == [GPU, CPU, GPU]


@pytest.mark.parametrize("native", [True, False])
def test_emulated_bf16_is_not_native(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    pretend(monkeypatch, native=native)
    assert native_bf16(GPU) is native
    assert native_bf16(CPU) is bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def test_the_commands_offer_what_there_is() -> None:
    made: Any = device_option(lambda: None)
    (option,) = made.__click_params__
    assert (tuple(option.type.choices), option.default) == (DEVICES, "auto")


def test_weights_say_where_a_network_lies() -> None:
    assert place_of(nn.Linear(1, 1).to("meta")).type == "meta"
    assert place_of(nn.BatchNorm1d(1, affine=False).to("meta")).type == "meta"
    assert place_of(nn.ReLU()) == CPU


def clip(frames: int) -> Clip:
    pixels = np.random.default_rng(0).integers(0, 255, (frames, 40, 40, 3), dtype=np.uint8)
    return Clip(ClipRef("noise", "0" * 64, 0, tuple(0.1 * t for t in range(frames))), pixels)


SETTINGS: dict[str, dict[str, Any]] = {
    "cnn-rnn": {"backbone": "small", "size": 32, "length": 4, "rate": 0.0},
    "video-transformer": {"size": 32, "length": 4},
    "vae": {"size": 32, "length": 2, "score": "ssim"},
    "previous-frame": {"size": 32, "length": 3},
    "random": {"size": 32, "length": 2},
}


@pytest.mark.parametrize("key", SETTINGS)
def test_a_detector_scores_elsewhere_as_it_does_here(key: str) -> None:
    settings: Any = DETECTORS[key](**SETTINGS[key])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = settings.build(("a", "b"), normal=("a",)) if hasattr(settings, "resolved") else settings.build()
    seen, digest = clip(detector.windows.length), detector.weights_digest
    expected = detector.start().push(seen).values
    with elsewhere() as far:
        detector.network.to(far)
        np.testing.assert_allclose(detector.start().push(seen).values, expected, rtol=1e-4)
        if isinstance(detector, ReconstructionDetector):
            detector.examined(seen)[1]()
            detector.expectation(seen)
        assert state_digest(detector.network) == digest


def test_a_detector_is_opened_where_it_is_asked_for(detector_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidence.models.detector.device_of", torch.device)
    for load in (load_detector, load_deployed):
        for device in ("cpu", "meta"):
            network = load(detector_folder, device=device).network
            assert network is not None
            assert place_of(network).type == device


def test_without_a_network_the_cpu_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MotionAttributes().build().save(tmp_path)
    pretend(monkeypatch, native=True)
    assert load_detector(tmp_path, device="cuda").network is None
