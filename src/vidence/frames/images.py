"""A single image, and a folder of images that are the frames of one clip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from vidence.errors import SourceError
from vidence.frames.clip import Frame
from vidence.frames.notes import Notes
from vidence.frames.transforms import resize
from vidence.record.provenance import file_digest

IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
ORDER = "frame order"  # the clock of images, which have no times of their own
SHOWN = 5  # names in an error message


class ImageFile:
    """One image: a single frame at time 0, upright by its EXIF orientation."""

    fps: float | None = None
    duration: float | None = None
    clock = ORDER
    dropped = 0  # what does not decode is refused

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes = Notes()
        self.size = _size(read_image(Path(name)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's bytes."""
        return file_digest(Path(self.name))

    def __iter__(self) -> Iterator[Frame]:
        """The one frame."""
        yield Frame(read_image(Path(self.name)), 0.0)


class ImageFolder:
    """The images of one folder in natural order (2 before 10), read one at a time.

    Frame i is at i / fps seconds; without an `fps` at i seconds, which a note says. Files with other suffixes and
    hidden files are no frames. An image of another size than the first is resized to it, which a note says. `mend`: in
    the place of one that does not decode the frame before it stands again, which a note says, and `dropped` counts
    them; else, and at the beginning, it is refused.
    """

    clock = ORDER

    def __init__(self, name: str, *, fps: float | None = None, mend: bool = False) -> None:
        self.name = name
        self.mend, self.dropped = mend, 0
        self.notes = Notes()
        self.fps: float | None = fps if fps is not None else 1.0
        self.files = _frames_in(Path(name))
        self.size = _size(read_image(self.files[0]))
        self.duration: float | None = len(self.files) / self.fps
        if fps is None and len(self.files) > 1:
            self.notes.add("no frame rate was given: times count the frames, one second each.")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the lines `name NUL file digest LF`, in the frames' order."""
        whole = hashlib.sha256()
        for file in self.files:
            whole.update(f"{file.name}\0{file_digest(file)}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order. Raises `SourceError` that names an image that cannot be read."""
        resized, before, self.dropped = False, None, 0
        for index, file in enumerate(self.files):
            pixels = before = self._read(file, before)
            if _size(pixels) != self.size:
                if not resized:
                    change = f"{_text(self.size)} to {_text(_size(pixels))}"
                    self.notes.add(
                        f"the size changes from {change} at {file.name}; frames were resized to the first one's."
                    )
                resized, pixels = True, resize(pixels, self.size)
            yield Frame(pixels, index / (self.fps or 1.0))

    def _read(self, file: Path, before: UInt8[np.ndarray, "h w 3"] | None) -> UInt8[np.ndarray, "h w 3"]:
        try:
            return read_image(file)
        except SourceError:
            if before is None or not self.mend:
                raise
        self.notes.add(f"{file.name} does not decode; the frame before it stands in its place.")
        self.dropped += 1
        return before


def read_image(file: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Decode one image as uint8 RGB: upright by EXIF, gray repeated, alpha dropped, 16 bits cut to their upper 8."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SourceError(f"an image must be readable; {str(file)!r}: {error.strerror}. Check the file.") from error
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if pixels is None:
        raise SourceError(
            f"an image must decode in full; {str(file)!r} ({len(data)} bytes) is damaged, cut off, no image, "
            "or holds numbers other than 8 or 16 bits. "
            "Replace it, or take it out of the folder."
        )
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise SourceError(f"an image must have 8 or 16 bits a channel; {str(file)!r} has {pixels.dtype}. Convert it.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def natural(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sort key by which frame2 comes before frame10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [(False, int(part), "") if part[0] in "0123456789" else (True, 0, part) for part in parts], name


def _frames_in(folder: Path) -> list[Path]:
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"a folder must be readable; {str(folder)!r}: {error.strerror}.") from error
    frames = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    if frames:
        return sorted(frames, key=lambda entry: natural(entry.name))
    folders = sorted((entry.name for entry in entries if entry.is_dir()), key=natural)
    files = sorted((entry.name for entry in entries if entry.is_file()), key=natural)
    held = {"folders": folders, "other files": files}
    found = " and ".join(f"{len(names)} {kind} ({_listed(names)})" for kind, names in held.items() if names)
    advice = "" if found else " Check the path."
    if folders:
        advice += (
            " If these are classes or clips, give one clip's file or folder; to train on all of them: vidence train."
        )
    if files:
        advice += " If the files are videos, give them one by one."
    raise SourceError(
        f"a folder given as a source must hold images, its frames; {str(folder)!r} holds {found or 'nothing'}.{advice}"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _size(pixels: np.ndarray) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
