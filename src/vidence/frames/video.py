"""Video files, decoded lazily with FFmpeg: upright uint8 RGB frames at the container's own times."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from vidence.errors import SourceError
from vidence.frames.clip import Frame
from vidence.frames.clock import Clock
from vidence.frames.notes import Notes
from vidence.frames.transforms import resize
from vidence.record.provenance import file_digest

FALLBACK_FPS = 25.0


class VideoFile:
    """A video file. Opening it decodes the first frame, so that what is no video is refused at once.

    Pixels are as stored, at 8 bits: the sample aspect ratio is not applied, interlaced lines are not separated, alpha
    is dropped. The display matrix turns and mirrors, by quarter turns. Times are those of `Clock`. Frames that do not
    decode in full are left out; a frame of another size than the first is resized to it; `notes` says so. Of a video
    that is damaged or breaks off nobody knows how many frames are missing: `dropped` stays None.
    """

    clock = "container"

    def __init__(self, name: str, *, fps: float | None = None) -> None:
        self.name = name
        self.notes = Notes()
        self.dropped: int | None = None
        with self._opened() as (container, stream):
            self.fps: float | None = _nominal_rate(stream)
            self.duration: float | None = _duration(container, stream, self.fps)
            self._rate = fps or float(stream.guessed_rate or 0) or FALLBACK_FPS  # for frames without a time
            if len(_videos(container)) > 1:
                self.notes.add(f"the file holds {len(_videos(container))} video streams; only the main one is read.")
        with closing(self._upright(Notes())) as frames:  # what goes wrong is noted when the user iterates
            first = next(frames, None)
        if first is None:
            raise SourceError(
                f"a video must have at least one frame that decodes; {name!r} has none. "
                "It is empty, cut off or damaged: copy it again."
            )
        self.size: tuple[int, int] = (first.pixels.shape[0], first.pixels.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's bytes."""
        return file_digest(Path(self.name))

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order, all of the first one's size."""
        resized = False
        with closing(self._upright(self.notes)) as frames:
            for frame in frames:
                h, w = frame.pixels.shape[:2]
                if (h, w) == self.size:
                    yield frame
                    continue
                if not resized:
                    change = f"{self.size[1]}x{self.size[0]} to {w}x{h}"
                    self.notes.add(
                        f"the size changes from {change} at {frame.time:.2f} s; frames were resized to the first one's."
                    )
                resized = True
                yield Frame(resize(frame.pixels, self.size), frame.time)

    def _upright(self, notes: Notes) -> Generator[Frame]:
        """Frames as decoded, each of its own size."""
        clock = Clock(period=1 / self._rate, notes=notes)
        convert = VideoReformatter()
        with self._opened() as (container, stream), closing(_decoded(container, stream, clock)) as frames:
            for frame in frames:
                time = clock.read(_stamp(frame.pts, frame.time_base))
                pixels = convert.reformat(frame, format="rgb24").to_ndarray()
                yield Frame(_turned(pixels, _matrix(frame), notes), time)
        self.dropped = clock.dropped

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        try:
            # said explicitly, because FFmpeg takes what precedes a colon in a name for a protocol
            container = av.open(f"file:{self.name}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
        except av.FFmpegError as error:
            raise SourceError(
                f"a source must be a video or an image that FFmpeg or OpenCV reads; {self.name!r}: {error.strerror}. "
                "If it is one, it may be cut off before its index: copy it again, or convert it to MP4 (H.264)."
            ) from error
        with container:
            stream = self._stream(container)
            stream.thread_type = "NONE"  # with threads a damaged stream decodes differently from run to run: no replay
            yield container, stream

    def _stream(self, container: InputContainer) -> VideoStream:
        videos = _videos(container)
        if not videos:
            kinds = (
                ", ".join(
                    sorted({"cover picture" if stream.type == "video" else stream.type for stream in container.streams})
                )
                or "no stream at all"
            )
            raise SourceError(
                f"a video must have a video stream; {self.name!r} has only: {kinds}. Give the video file."
            )
        best = container.streams.best("video")
        stream = next((stream for stream in videos if best is not None and stream.index == best.index), videos[0])
        if stream.codec_context is None:
            raise SourceError(
                f"a video must be in a codec FFmpeg decodes; {self.name!r} is not. Convert it to MP4 (H.264)."
            )
        return stream


def _videos(container: InputContainer) -> list[VideoStream]:
    """Its video streams, less the cover pictures of sound files."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _decoded(container: InputContainer, stream: VideoStream, clock: Clock) -> Generator[VideoFrame]:
    """What decodes of the stream; damage is reported to `clock`."""
    reason = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            packet, reason = None, error.strerror
        if packet is None:
            break
        stamp = _stamp(packet.pts, packet.time_base)
        if packet.is_corrupt:  # half a picture would pass for an anomaly
            clock.damaged(stamp)
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            clock.damaged(stamp)
            continue
        for frame in frames:
            if frame.is_corrupt:
                clock.damaged(_stamp(frame.pts, frame.time_base))
            else:
                yield frame
    clock.finish(_announced_end(container, stream), reason)


def _stamp(pts: int | None, time_base: Fraction | None) -> Fraction | None:
    return None if pts is None or time_base is None else pts * time_base


def _nominal_rate(stream: VideoStream) -> float | None:
    """Frames a second: the container's average; the codec's own where FFmpeg finds no grid under the stamps, because
    they are missing or stand still and their average means nothing.
    """
    rate = stream.average_rate if stream.base_rate else stream.guessed_rate
    return float(rate) if rate else None


def _duration(container: InputContainer, stream: VideoStream, fps: float | None) -> float | None:
    counted = stream.frames / fps if fps else 0.0  # more than the announced length where the clock stands still
    if stream.duration is not None and stream.time_base is not None:
        return max(counted, float(stream.duration * stream.time_base))
    return counted or None if container.duration is None else max(counted, container.duration / av.time_base)


def _announced_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """The end of the stream in seconds as a header promised it; None for formats that only estimate."""
    names = container.format.name.split(",")
    if "mp4" in names and stream.duration is not None and stream.time_base is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if "avi" in names and stream.average_rate:
        return stream.frames / stream.average_rate
    if "matroska" in names and "DURATION" in stream.metadata:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    return None


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """The display matrix (a, b, c, d): a stored (x, y) is shown at (a x + c y, b x + d y)."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(cast(SideData, data)))
    return (a, b, c, d) if a * d != b * c else (1, 0, 0, 1)


def _turned(
    pixels: UInt8[np.ndarray, "h w 3"], matrix: tuple[int, int, int, int], notes: Notes
) -> UInt8[np.ndarray, "H W 3"]:
    """Turn and mirror as the display matrix asks, to the nearest quarter turn."""
    a, b, c, d = matrix
    sideways = abs(b) > abs(a)
    if min(abs(a), abs(b)) > 0.01 * max(abs(a), abs(b)):
        notes.add("the display matrix asks for an oblique angle; frames were turned to the nearest quarter turn.")
    if sideways:
        pixels = pixels.transpose(1, 0, 2)
    across, down = (c, b) if sideways else (a, d)
    return np.ascontiguousarray(pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
