"""What a score costs: time a frame, parameters, operations, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidence.frames.clip import Clip
from vidence.models.detector import Detector, weighed
from vidence.models.evaluating import evaluating
from vidence.models.hybrid import HybridDetector, cut_out


class Meter:
    """Adds up the time that scoring takes: from pixels to scores, without decoding and measuring.

    `window` is one of those scored, `fresh` how many of its frames no other window has to score.
    """

    def __init__(self) -> None:
        self.seconds, self.frames = 0.0, 0
        self.window: Clip | None = None
        self.fresh = 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the block."""
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began

    def facts(self, detector: Detector) -> dict[str, Any]:
        """Plain values. `frames_per_s` holds for this machine with `threads` CPU threads, whatever else ran beside it;
        `peak_rss_mib` is the whole process's, libraries included.
        """
        peak, held = peak_rss_mib(), weighed(detector)  # the peak first: counting operations loads more libraries
        return {
            "frames_per_s": self.frames / self.seconds if self.seconds else None,
            "threads": torch.get_num_threads(),
            "parameters": 0 if held is None else sum(each.numel() for each in held.parameters()),
            "flops_per_frame": self._flops_per_frame(detector),
            "peak_rss_mib": peak,
        }

    def _flops_per_frame(self, detector: Detector) -> float | None:
        """The network's; a hybrid's learned member has windows of its own, shorter ones."""
        window, fresh = self.window, self.fresh
        if window is not None and isinstance(detector, HybridDetector):
            detector = detector.learned
            window = cut_out(window, 0, detector.windows.length)
            fresh = min(detector.windows.stride, len(detector.errors(window).times))
        flops = flops_of(detector, window) if window is not None and fresh else None
        return None if flops is None else flops / fresh


def flops_of(detector: Detector, clip: Clip) -> int | None:
    """Floating-point operations of one forward pass: convolutions and matrix products, a multiply-add counted as two.

    None for a detector without a network.
    """
    if detector.network is None:
        return None
    x = detector.prepare(clip)
    with evaluating(detector.network), FlopCounterMode(display=False) as counter:
        detector.network(x)
    return int(counter.get_total_flops())


def peak_rss_mib() -> float:
    """The most memory that the process has held so far, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
