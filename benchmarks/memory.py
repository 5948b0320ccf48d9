"""Peak memory of ``vidence score`` on one and on twenty minutes of the same video, by the system's own account.

    .venv/bin/python benchmarks/memory.py DETECTOR [--minutes 1 20]

Each run is a process of its own; the figure is its peak resident set (`ru_maxrss` of `wait4`). The film loops one
minute of the synthetic scene, so that both runs decode pictures of the same size and kind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_film(path: Path, minutes: float, *, rate: int = 5, size: tuple[int, int] = (240, 320)) -> None:
    """A bright square walks over a textured floor: H.264, `rate` frames per second."""
    floor = np.random.default_rng(0).integers(90, 130, (*size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for i in range(round(minutes * 60 * rate)):
            picture = floor.copy()
            left = 4 * i % (size[1] - 40)
            picture[80:160, left : left + 30] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def peak_mib(command: list[str]) -> float:
    """Run a command to its end and return its peak resident set in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Print a row per film length, and the ratio of the longest to the shortest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 20])
    asked = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in asked.minutes:
            film = Path(folder) / f"{minutes:g}min.mp4"
            write_film(film, minutes)
            command = [sys.executable, "-m", "vidence", "score", str(film)]
            out = str(Path(folder) / f"scored-{minutes:g}")
            peaks.append(peak_mib([*command, "--detector", asked.detector, "--out", out, "--explain", "off"]))
            print(f"{minutes:6g} min  peak {peaks[-1]:8.1f} MiB", flush=True)
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
