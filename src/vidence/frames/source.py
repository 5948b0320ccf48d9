"""A source gives frames in order; `open_source` finds out what a path is and opens it."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from vidence.errors import SourceError, SpecError
from vidence.frames.clip import Frame
from vidence.frames.images import ImageFile, ImageFolder
from vidence.frames.video import VideoFile

HEAD = 4096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_IMAGE_STARTS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"II*\x00",  # TIFF, little and big endian
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  ",  # JPEG 2000
)
_STREAM_SUFFIXES = (".mjpeg", ".mjpg")  # JPEG after JPEG, without a container
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


@runtime_checkable
class Source(Protocol):
    """Frames in order, with seconds that never decrease.

    `name` is the path as the user gave it; `digest` the SHA-256 of the file's bytes (of a folder: see `ImageFolder`),
    computed when first asked for; `fps` nominal and for display only, None for an image; `size` (h, w) of the first
    frame as shown; `duration` in seconds as the container announces it, None if it does not; `clock` says what the
    seconds are from: `container`, or `frame order`. `notes` is filled while iterating; after the last frame `dropped`
    is the number of frames that did not decode, None where that cannot be told. Iterating again starts again; closing
    the iterator early frees the file.
    """

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def fps(self) -> float | None: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def duration(self) -> float | None: ...

    @property
    def clock(self) -> str: ...

    @property
    def dropped(self) -> int | None: ...

    @property
    def notes(self) -> list[str]: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_source(path: str | Path, *, fps: float | None = None) -> Source:
    """Open a video file, an image or a folder of frames; which of them it is, the content decides, not the suffix.

    `fps` gives the frames of a folder their times, frame index / fps. A video keeps the times of its container; where
    that has none, or its clock stands still, `fps` takes the place of the nominal rate.
    Raises `SourceError` when the path cannot be read as one of the three, `SpecError` for an fps that is not positive.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise SpecError(f"fps must be a positive number of frames per second; got {fps}.")
    name, place = str(path), Path(path)
    if not name or not place.exists():
        raise _absent(name)
    if place.is_dir():
        return ImageFolder(name, fps=fps)
    if not place.is_file():
        raise SourceError(
            f"a source must be a file or a folder; {name!r} is a pipe or a device. Save it to a file first."
        )
    try:
        with place.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise SourceError(f"a source must be readable; {name!r}: {error.strerror}. Check its permissions.") from error
    _refuse_foreign(name, head)
    return ImageFile(name) if _still(head, place.suffix.lower()) else VideoFile(name, fps=fps)


def is_text(file: Path) -> bool:
    """Whether a file begins with text, as tables do and footage does not."""
    with file.open("rb") as opened:
        return _textual(opened.read(HEAD))


def _absent(name: str) -> SourceError:
    if name == "-":
        return SourceError("a source must be a file or a folder; got '-' (standard input). Save it to a file first.")
    if _SCHEME.match(name):
        return SourceError(
            f"a source must be a file or a folder; {name!r} is an address. Live streams and URLs are not read yet: "
            "record or download it to a file first."
        )
    return SourceError(f"a source must exist; there is nothing at {name!r}. Check the path.")


def _refuse_foreign(name: str, head: bytes) -> None:
    """Raise for what decoders would misread: FFmpeg plays text as a terminal and follows playlists to other files,
    which the digest would not cover; of an HEIF photograph it decodes one tile.
    """
    if not head:
        raise SourceError(f"a source must hold a video or an image; {name!r} is empty (0 bytes). Copy it again.")
    if _textual(head):
        raise SourceError(
            f"a source must hold a video or an image; {name!r} is a text file, whatever its name says. "
            "Give the video itself (a playlist's segments can be joined into one file)."
        )
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        raise SourceError(f"an image must be JPEG, PNG, TIFF, BMP, WebP or AVIF; {name!r} is HEIF. Convert it to PNG.")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and b"ANIM" in head[:64]:
        raise SourceError(f"a video must be in a video container; {name!r} is an animated WebP. Convert it to MP4.")


def _still(head: bytes, suffix: str) -> bool:
    """Whether the file is one picture; animated PNG and GIF are videos."""
    if suffix in _STREAM_SUFFIXES:
        return False
    if head.startswith(b"\x89PNG") and b"acTL" in head:
        return False
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    bitmap = head[:2] == b"BM" and head[6:10] == bytes(4)
    return head.startswith(_IMAGE_STARTS) or webp or bitmap or head[4:12] == b"ftypavif" or _portable_map(head)


def _portable_map(head: bytes) -> bool:
    return re.match(rb"P[1-6]\s+[\d#]", head) is not None


def _textual(head: bytes) -> bool:
    if head.startswith(b"YUV4MPEG2") or _portable_map(head):
        return False
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the head may end inside a character
    except UnicodeDecodeError:
        return False
    return all(sign.isprintable() or sign in "\t\n\v\f\r\ufeff" for sign in text)
