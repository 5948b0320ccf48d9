"""Opening by content, and what bad input prints."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from vidence.errors import SourceError, SpecError
from vidence.frames.images import ImageFile, ImageFolder
from vidence.frames.source import Source, open_source
from vidence.frames.video import VideoFile

from .conftest import Write, picture, save


def test_the_content_decides_and_not_the_suffix(write: Write, tmp_path: Path) -> None:
    video = write("a.mp4").rename(tmp_path / "a.png")
    image = save(tmp_path / "b.png", picture()).rename(tmp_path / "b.mp4")
    assert isinstance(open_source(video), VideoFile)
    assert isinstance(open_source(image), ImageFile)
    assert isinstance(open_source(str(image)), ImageFile)


def test_moving_pictures_in_picture_formats_are_videos(write: Write) -> None:
    for name, codec, pix_fmt in (
        ("a.gif", "gif", "rgb8"),
        ("a.apng", "apng", "rgb24"),
        ("a.mjpeg", "mjpeg", "yuvj420p"),
    ):
        source = open_source(write(name, codec=codec, pix_fmt=pix_fmt))
        assert len(list(source)) == 10, name


def test_every_kind_is_a_source_with_name_and_digest(write: Write, tmp_path: Path) -> None:
    video = write("a.mp4")
    image = save(tmp_path / "folder" / "a.png", picture())
    for path, kind in ((video, VideoFile), (image, ImageFile), (image.parent, ImageFolder)):
        source = open_source(path)
        assert isinstance(source, Source)
        assert isinstance(source, kind)
        assert source.name == str(path)
        assert source.digest == source.digest
        assert len(source.digest) == 64
        times = [frame.time for frame in source]
        assert times == sorted(times)
    assert open_source(video).digest == hashlib.sha256(video.read_bytes()).hexdigest()


def test_the_name_is_the_path_as_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.mp4")
    monkeypatch.chdir(path.parent)
    assert open_source("./a.mp4").name == "./a.mp4"


BAD = {  # name: contents, what the message must say
    "empty.mp4": (b"", r"empty\.mp4' is empty"),
    "words.mp4": (b"This is not a video.\n" * 300, r"words\.mp4' is a text file"),
    "words.txt": ("für später\n".encode() * 1000, "text file"),
    "list.m3u8": (b"#EXTM3U\n#EXTINF:4,\nhttp://example.org/a.ts\n", "text file.*joined into one"),
    "concat.txt": (b"ffconcat version 1.0\nfile /etc/hostname\n", "text file"),
    "noise.mp4": (np.random.default_rng(0).bytes(5000), r"noise\.mp4"),
    "zeros.avi": (bytes(5000), r"zeros\.avi"),
    "photo.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIF.*Convert"),
    "moving.webp": (b"RIFF\x99\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0" + bytes(6) + b"ANIM" + bytes(99), "animated WebP"),
    "cut.jpg": (b"\xff\xd8\xff\xe0" + bytes(50), r"cut\.jpg.*cut off"),
    "program.zip": (b"PK\3\4" + bytes(range(256)) * 4, r"program\.zip"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_clear_sentence(tmp_path: Path, name: str) -> None:
    contents, message = BAD[name]
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(tmp_path / name)
    assert isinstance(caught.value, OSError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/clip.mp4", "nothing at 'nowhere/clip.mp4'"),
        ("-", "standard input"),
        ("rtsp://camera.local/1", "address.*not read yet"),
        ("https://example.org/a.mp4", "address"),
        (Path("http://example.org/a.mp4"), "address"),  # a Path folds the slashes
        ("", "nothing at ''"),
    ],
)
def test_what_is_no_file_is_refused(path: str | Path, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(path)


def test_a_pipe_is_refused_without_waiting_on_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe or a device"):
        open_source(tmp_path / "pipe")


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_must_be_positive(tmp_path: Path, fps: float) -> None:
    with pytest.raises(SpecError, match="fps must be a positive number"):
        open_source(tmp_path, fps=fps)
