"""Operations and parameters of a network whose numbers can be written down; time that only runs inside."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidence.evaluate.cost import Meter, flops_of, peak_rss_mib
from vidence.frames.clip import Clip
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.models.reconstruction_detector import ReconstructionDetector, ReconstructionSettings
from vidence.record.facts import ClipRef


class OneConvolution(ReconstructionNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(3, 3, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(self.layer(x))


@dataclass(frozen=True, kw_only=True)
class Settings(ReconstructionSettings):
    size: int = 16

    def network(self) -> OneConvolution:
        return OneConvolution()


def clip(t: int) -> Clip:
    times = tuple(place / 10 for place in range(t))
    return Clip(ClipRef("a.mp4", "0" * 64, 0, times), np.zeros((t, 20, 20, 3), np.uint8))


def made() -> ReconstructionDetector:
    settings = Settings()
    return ReconstructionDetector(settings, settings.network())


def test_a_convolution_multiplies_and_adds() -> None:
    assert flops_of(made(), clip(4)) == 2 * 4 * 16 * 16 * (3 * 3 * 9)


def test_the_facts_of_a_run() -> None:
    meter, detector = Meter(), made()
    for _ in range(2):
        with meter.running():
            time.sleep(0.05)
        time.sleep(0.1)  # does not count
    meter.frames, meter.window, meter.fresh = 8, clip(4), 2  # windows that overlap by half
    facts = meter.facts(detector)
    assert 0.1 <= meter.seconds < 0.2
    assert facts["frames_per_s"] == pytest.approx(8 / meter.seconds)
    assert facts["parameters"] == 3 * 3 * 9 + 3
    assert facts["flops_per_frame"] == 2 * 4 * 16 * 16 * (3 * 3 * 9) / 2
    assert facts["threads"] == torch.get_num_threads()


def test_nothing_run_is_nothing_claimed() -> None:
    facts = Meter().facts(made())
    assert facts["frames_per_s"] is None
    assert facts["flops_per_frame"] is None


def test_peak_memory_is_what_the_system_says() -> None:
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("this system has no /proc to compare with")
    found = peak_rss_mib()
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert found == pytest.approx(int(line.split()[1]) / 1024, rel=0.05)  # kB
