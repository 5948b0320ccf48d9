"""An H.264 movie that plays in browsers, at the source's own times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from jaxtyping import UInt8

from vidence.aside import written_aside
from vidence.errors import ShapeError
from vidence.frames.encoding import REPEATABLE_X264

TICKS = 90_000  # a second; the clock of broadcast video, divisible by 24, 25, 30 and 60
_KEYFRAMES_EVERY = 48  # frames; a browser seeks to a keyframe


def write_movie(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    times: Iterable[float],
    *,
    crf: int = 20,
) -> int:
    """Encode frames as they come and return how many were written; memory does not grow with their number.

    `times` are seconds, one a frame, never decreasing; the movie's clock starts at the first, and each frame is
    shown at its own time (variable frame rate). A frame that repeats the time of the one before (the padding of
    a window) is left out: no player can show two at once. The pictures share one size; an odd side is padded to
    even by repeating its last line. `crf` is x264's quality (lower is better).

    The file is written aside and renamed; after any error `path` is as it was. Raises `ShapeError` for frames
    and times that do not fit, `OutputError` where the disk refuses.
    """
    options = {"crf": str(crf), "preset": "veryfast", "x264-params": REPEATABLE_X264}
    with written_aside(Path(path)) as aside:
        with av.open(str(aside), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream: VideoStream = container.add_stream("libx264", options=options)
            count = 0
            for count, (pixels, ticks) in enumerate(_distinct(frames, times), 1):
                if count == 1:
                    _configure(stream, pixels.shape)
                frame = _frame(pixels, ticks, (stream.height, stream.width))
                for packet in stream.encode(frame):
                    container.mux(packet)
            if not count:
                raise ShapeError("a movie needs at least one frame; got none. Check the source.")
            for packet in stream.encode(None):
                container.mux(packet)
    return count


def _distinct(
    frames: Iterable[UInt8[np.ndarray, "h w 3"]], times: Iterable[float]
) -> Iterator[tuple[UInt8[np.ndarray, "h w 3"], int]]:
    """Frames with their rising tick, the first at 0."""
    first: float | None = None
    size: tuple[int, ...] | None = None
    last = -1
    for pixels, time in zip_longest(frames, times):
        if pixels is None or time is None:
            raise ShapeError("a movie needs one time for each frame; one of the two ended early.")
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ShapeError(f"a movie's frame must be uint8 RGB (h, w, 3); got {pixels.dtype} {pixels.shape}.")
        size = size or pixels.shape
        if pixels.shape != size:
            raise ShapeError(f"a movie's frames must share one size; got {pixels.shape} after {size}.")
        if not math.isfinite(time):
            raise ShapeError(f"a movie's times must be finite seconds; got {time}.")
        first = time if first is None else first
        ticks = round((time - first) * TICKS)
        if ticks < last:
            raise ShapeError(f"a movie's times must never decrease; got {time} s after a later frame.")
        if ticks > last:
            yield pixels, ticks
        last = ticks


def _configure(stream: VideoStream, shape: tuple[int, ...]) -> None:
    """Set the size and the clock, and say how the colours are to be read: players guess differently."""
    context = stream.codec_context
    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    stream.pix_fmt = "yuv420p"
    stream.time_base = context.time_base = Fraction(1, TICKS)
    context.gop_size = _KEYFRAMES_EVERY
    context.colorspace, context.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
    context.color_trc, context.color_range = ColorTrc.BT709, ColorRange.MPEG


def _frame(pixels: UInt8[np.ndarray, "h w 3"], ticks: int, size: tuple[int, int]) -> av.VideoFrame:
    """One frame in the encoder's format, at its time."""
    below, right = size[0] - pixels.shape[0], size[1] - pixels.shape[1]
    if below or right:
        pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame.pts, frame.time_base = ticks, Fraction(1, TICKS)
    return frame
