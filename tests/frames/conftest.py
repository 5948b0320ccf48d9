"""Videos made on the spot: small, with known pixels and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

Write = Callable[..., Path]
MILLISECONDS = Fraction(1, 1000)


def picture(h: int = 48, w: int = 64, *, level: int = 0) -> np.ndarray:
    """Red, green, blue and white quarters on which nothing is symmetric; `level` (0..255) marks the frame."""
    pixels = np.zeros((h, w, 3), np.uint8)
    pixels[: h // 2, : w // 2, 0] = 240
    pixels[: h // 2, w // 2 :, 1] = 200
    pixels[h // 2 :, : w // 2, 2] = 160
    pixels[h // 2 :, w // 2 :] = level
    return pixels


def level_of(pixels: np.ndarray) -> float:
    """The mark of a frame, from the middle of its quarter."""
    h, w = pixels.shape[:2]
    return float(pixels[h * 5 // 8 : h * 7 // 8, w * 5 // 8 : w * 7 // 8].mean())


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write RGB, RGBA or gray pixels by the path's suffix."""
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    data = cv2.cvtColor(pixels, order[pixels.shape[2]]) if pixels.ndim == 3 else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, data)[1].tobytes())
    return path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write frames as a video under `tmp_path`: `pictures` by default ten, marked 0, 20, 40, ..."""

    def write_video(
        name: str,
        pictures: Sequence[np.ndarray] | None = None,
        *,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        rate: int = 10,
        pts_ms: Sequence[int] | None = None,
        matrix: Sequence[int] | None = None,
        muxing: dict[str, str] | None = None,
        coding: dict[str, str] | None = None,
    ) -> Path:
        shown = [picture(level=20 * i) for i in range(10)] if pictures is None else pictures
        with av.open(str(tmp_path / name), "w", options=muxing or {}) as container:
            stream = container.add_stream(codec, rate=rate, options=coding or {})
            stream.height, stream.width = shown[0].shape[:2]
            stream.pix_fmt = pix_fmt
            if matrix is not None:
                stream.set_display_matrix(list(matrix))
            if pts_ms is not None:
                stream.time_base = stream.codec_context.time_base = MILLISECONDS
            for index, pixels in enumerate(shown):
                channels = "rgba" if pixels.shape[2] == 4 else "rgb24"
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=channels)
                if pts_ms is not None:
                    frame.pts, frame.time_base = pts_ms[index], MILLISECONDS
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return tmp_path / name

    return write_video


@pytest.fixture
def write_sound(tmp_path: Path) -> Write:
    """Write a tenth of a second of silence."""

    def write_audio(name: str, codec: str) -> Path:
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=16000, layout="mono")
            layout = "s16" if codec.startswith("pcm") else "fltp"
            dtype = np.int16 if layout == "s16" else np.float32
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), dtype), format=layout, layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return tmp_path / name

    return write_audio
