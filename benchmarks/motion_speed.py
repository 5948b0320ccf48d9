"""What `motion-attributes` costs beside the optical flow alone, on one core.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/motion_speed.py DETECTOR VIDEO [--rounds 3] [--flow dis]

The frames are decoded before. Times are CPU seconds, which other work on the machine disturbs least; with one thread
they are what a free core would take. The ratio is that of scoring to the flow between the same frames.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from vidence.evaluate.cost import peak_rss_mib
from vidence.frames.clip import Frame
from vidence.frames.source import open_source
from vidence.models import load_detector
from vidence.motion.flow import FLOWS


class Decoded:
    """A source whose frames are in memory."""

    def __init__(self, source: Any) -> None:
        self._source, self._frames = source, list(source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Iterator[Frame]:
        yield from self._frames


def main() -> None:
    """Print frames a second, the ratio and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flow", choices=list(FLOWS))
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    detector: Any = load_detector(asked.detector)
    source = Decoded(open_source(str(asked.video)))
    gray = [cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY) for frame in source]
    clips = list(detector.windows.cut(source))
    between = FLOWS[asked.flow or detector.settings.flow]()
    flows, scores = [], []
    for _ in range(asked.rounds):
        began = time.process_time()
        for now, before in zip(gray[1:], gray, strict=False):
            between(now, before)
        flows.append(time.process_time() - began)
        session = detector.start()
        began = time.process_time()
        for clip in clips:
            session.push(clip)
        scores.append(time.process_time() - began)
    flow, score = statistics.median(flows), statistics.median(scores)
    n, (h, w) = len(gray), gray[0].shape
    print(f"{w}x{h}, {n} frames, {asked.rounds} rounds, CPU seconds of one thread")
    print(f"flow alone {n / flow:.1f} frames/s; scoring {n / score:.1f} frames/s, {score / flow:.2f} times the flow")
    print(f"{n / score / 25:.2f} times real time at 25 frames/s; at most {peak_rss_mib():.0f} MiB")


if __name__ == "__main__":
    main()
